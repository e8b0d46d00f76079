// @ts-check
/**
 * One visit: connects the socket, the player and the clocks. It decides when the player skips, reports which chunk is on
 * screen, pauses while the tab is hidden, resumes after a lost connection, and tries the next player where one fails.
 */

import { PlayerFallback } from '../players/fallback.js';
import { recall, store } from '../lib/store.js';
import { ServerClock } from './clock.js';
import { Connection } from './connection.js';
import { FINAL_ERRORS, diagnose, sentence } from './diagnosis.js';
import { Inputs } from './inputs.js';
import { KeyLatency } from './latency.js';
import { StreamStats } from './stream_stats.js';

/** @typedef {import('./messages.d.ts').ClientMessages} ClientMessages */
/** @typedef {import('./messages.d.ts').ServerMessages} ServerMessages */
/** @typedef {import('./connection.js').StartFields} StartFields */
/** @typedef {import('../players/factory.js').PlayedChunk} PlayedChunk */
/** @typedef {import('../players/factory.js').PlayerName} PlayerName */
/** @typedef {ServerMessages['ready'] & {image?: string | null}} SessionInfo Message `ready`, with scene and seed kept up to date, and the start picture. */
/** @typedef {ServerMessages['ready' | 'history' | 'rewinding' | 'audience' | 'controls' | 'quality' | 'limit' | 'replay']} ServerNotice */
/**
 * `status(kind, data)`: text for the overlay, null for none. `info(info)`: scene, seed or the session changed.
 * `frame(chunk, now)`: a frame is on screen. `arrived(chunk)`: a chunk was received. `refused(seq)`: an error names that
 * message. `serverNotice(message)`: facts beside the video, `ready` first. `toast(text)`: a short remark.
 * @typedef {object} SessionHandlers
 * @property {(kind: string | null, data?: object) => void} status
 * @property {(info: SessionInfo) => void} info
 * @property {(chunk: PlayedChunk, now: number) => void} frame
 * @property {(chunk: PlayedChunk) => void} [arrived]
 * @property {(seq: number | null | undefined) => void} [refused]
 * @property {(message: ServerNotice) => void} serverNotice
 * @property {(text: string) => void} toast
 */

const UNREACHABLE_AFTER = 2;
const PING_EVERY_MS = 2000;
const TOKEN = 'token';

export class Session {
  /** @type {HTMLElement} */
  #stage;
  /** @type {SessionHandlers} */
  #on;
  /** @type {Connection} */
  #connection;
  /** @type {PlayerFallback} */
  #players;
  #clock = new ServerClock();
  #stream = new StreamStats();
  #latency = new KeyLatency();
  #info = /** @type {SessionInfo | null} */ (null);
  #state = /** @type {ServerMessages['state']['state'] | null} */ (null);
  #chunk = /** @type {PlayedChunk | null} */ (null);
  #shown = -1;
  #pauses = /** @type {Set<string>} */ (new Set());
  #everReady = false;
  #steers = false;
  #frameDue = false;
  #differs = /** @type {(info: SessionInfo) => boolean} */ (() => false);
  #askedAt = 0;

  /**
   * @param {HTMLElement} stage
   * @param {URL} url
   * @param {SessionHandlers} on
   */
  constructor(stage, url, on) {
    this.#stage = stage;
    this.#players = new PlayerFallback(stage, { frame: (chunk, now) => this.#frame(chunk, now), failed: (message) => this.#playerFailed(message) });
    this.#on = on;
    this.#connection = new Connection(url, {
      connecting: (attempt) => this.#everReady || attempt > 0 || this.#on.status('connecting'),
      lost: (loss) => this.#lost(loss),
      init: (bytes) => this.#info && this.#players.current?.init(bytes),
      fragment: (chunk, bytes) => this.#arrived(chunk, bytes),
      loading: (message) => this.#on.status(message.of === 'place' ? 'preparing' : 'loading', message),
      queue: (message) => this.#on.status('queue', message),
      ready: (message) => this.#ready(message),
      state: ({ state }) => { this.#state = state; },
      ended: (message) => this.#ended(message),
      error: (message) => this.#error(message),
      notice: ({ text }) => this.#on.toast(text),
      pong: (message) => this.#clock.answered(message),
      history: (message) => this.#on.serverNotice(message),
      rewinding: (message) => this.#on.serverNotice(message),
      audience: (message) => this.#on.serverNotice(message),
      controls: (message) => this.#controls(message),
      quality: (message) => this.#on.serverNotice(message),
      limit: (message) => this.#on.serverNotice(message),
      replay: (message) => this.#replay(message),
    });
    /** The visitor's input. */
    this.inputs = new Inputs((/** @type {keyof ClientMessages} */ type, fields) => this.#connection.send(type, fields), () => this.#info, (seq, at) => this.#info?.spectator || this.#latency.pressed(seq, at));
    setInterval(() => document.hidden || this.#ping(), PING_EVERY_MS);
    document.addEventListener('visibilitychange', () => document.hidden || this.#ping()); // the network may have gone meanwhile
    window.addEventListener('pageshow', () => this.#ping());
  }

  /** Sets the players to use, the best first. Call before `begin`. @param {PlayerName[]} names */
  usePlayers(names) {
    this.#players.use(names);
  }

  /** Starts a session. @param {StartFields} wanted */
  begin(wanted) {
    this.#pauses.clear();
    this.#everReady = false;
    this.#connection.begin(this.#withPlayer(wanted));
  }

  /**
   * Resumes this tab's session from before a reload, where there is one; another scene or seed in `wanted` resets it.
   * @param {StartFields} wanted
   */
  beginAgain(wanted) {
    const token = wanted.watch || wanted.replay ? null : recall(TOKEN, 'sessionStorage');
    this.#differs = (info) => /** @type {const} */ (['scene', 'seed', 'text']).some((name) => wanted[name] != null && wanted[name] !== info[name]);
    this.#connection.begin(this.#withPlayer(wanted), token);
  }

  /** Connects again now: after `refused`, `reconnecting`, `codec`. */
  retry() {
    this.#connection.retryNow();
  }

  /** Changes the scene, from the next chunk on. @param {string} name */
  setScene(name) {
    const seq = this.#connection.send('scene', { scene: name });
    if (!this.#info?.spectator) this.#askedAt = seq; // a watcher's chunks name no message
    this.#update({ scene: name });
  }

  /**
   * Starts over, with another `scene`, `seed` or `text` and along the camera path `file` where given. Returns the `seq`.
   * @param {{scene?: string, seed?: number, text?: string | null, file?: string}} options
   */
  reset({ scene = this.#info?.scene, seed = this.#info?.seed, text = this.#info?.text, file } = {}) {
    this.#latency.forget();
    this.#frameDue = true;
    this.#askedAt = this.#connection.send('reset', { scene, seed, text, file });
    this.#update({ scene, seed, text });
    return this.#askedAt;
  }

  /**
   * Continues after a chunk of any branch; along the camera path `file` from its `frame` on where one is named.
   * Returns the message's `seq`.
   * @param {number} chunk
   * @param {{file?: string, frame?: number}} options
   */
  rewind(chunk, { file, frame } = {}) {
    this.#latency.forget();
    this.#askedAt = this.#connection.send('rewind', { chunk, file, frame });
    return this.#askedAt;
  }

  /** Leaves the camera path; the camera stays where it is. Returns the message's `seq`. */
  leavePath() {
    return this.#connection.send('path', { stop: true });
  }

  /** Pauses the server while there is a reason to (`menu`, `hidden`, `filmstrip`). @param {string} reason */
  pause(reason) {
    if (this.#pauses.size === 0) this.#connection.send('pause');
    this.#pauses.add(reason);
    this.#latency.forget();
  }

  /** Ends one reason to pause. @param {string} reason */
  resume(reason) {
    if (!this.#pauses.delete(reason) || this.#pauses.size > 0) return;
    this.#connection.send('resume');
    this.#players.current?.goLive();
  }

  /** Name of the player in use, or null. */
  get playerName() {
    return this.#players.name;
  }

  get info() {
    return this.#info;
  }

  /** True if this visitor has the controls. */
  get steers() {
    return this.#steers;
  }

  /** Gives the controls to a watcher; null: back to the player. @param {number | null} watcher */
  handOver(watcher) {
    this.#connection.send('hand_over', { watcher });
  }

  /** `live`, `idle`, `paused`, or null before the first frame. */
  get state() {
    return this.#state;
  }

  /** Message of the newest chunk on screen. */
  get chunk() {
    return this.#chunk;
  }

  /** Element that shows the newest frame, to be drawn into a canvas. */
  get frameSource() {
    return this.#players.current?.frameSource ?? this.#stage.querySelector('canvas');
  }

  get stats() {
    return {
      latency: this.#latency.stats, player: this.#players.current?.stats ?? null, seq: this.#connection.seq, connected: this.#connection.open,
      trip: this.#clock.trip, kbps: this.#stream.kbps, waiting: this.#stream.waiting,
    };
  }

  /** Seconds of video received since the page was opened. */
  get receivedSeconds() {
    return this.#info ? this.#stream.frames / this.#info.fps : 0;
  }

  /** Key-to-frame latencies in ms, oldest first. */
  get latencies() {
    return this.#latency.samples;
  }

  /** Stage times of the newest chunks, see `StreamStats`. */
  get timeline() {
    return this.#stream.chunks;
  }

  /**
   * Adds the player's stream to the fields of `start`.
   * @param {StartFields} wanted
   * @returns {StartFields}
   */
  #withPlayer(wanted) {
    return this.#players.kind ? { ...wanted, player: this.#players.kind.stream } : wanted;
  }

  /** Switches to the next best player; false where there is none. */
  #nextPlayer() {
    if (!this.#players.next()) return false;
    this.#on.toast(`The video now comes by ${this.#players.kind?.label}.`);
    this.#connection.again(this.#withPlayer({}));
    return true;
  }

  /** @param {ServerMessages['ready']} message */
  #ready(message) {
    const { current: player, kind } = this.#players;
    if (!player || !kind) return;
    if (!kind.takes(message)) {
      if (this.#nextPlayer()) return;
      this.#connection.close();
      this.#on.status('codec', message);
      return;
    }
    this.#everReady = true;
    this.#frameDue = true;
    this.#askedAt = 0;
    this.#state = null;
    this.#shown = -1;
    this.#latency.forget();
    this.#clock.forget();
    this.#stream.forget();
    player.open(message);
    this.#info = { ...message, image: message.spectator ? undefined : this.#connection.wanted.image };
    this.#steers = !message.spectator;
    if (!message.spectator) store(TOKEN, message.token, 'sessionStorage');
    const wanted = this.#differs(message) && message.resumed ? this.#connection.wanted : null;
    this.#differs = () => false;
    this.#update({ scene: message.scene, seed: message.seed, text: message.text });
    this.#ping();
    this.#on.serverNotice(message);
    if (message.history) this.#on.serverNotice({ ...message.history, type: 'history' });
    // A resumed session may have been paused by a page that was reloaded; a new one needs its first picture before a pause.
    if (message.resumed && !message.spectator) this.#connection.send(this.#pauses.size > 0 ? 'pause' : 'resume');
    if (wanted) this.reset({ scene: wanted.scene ?? undefined, seed: wanted.seed ?? undefined, text: wanted.text ?? undefined });
    this.inputs.resend();
    this.#on.status('starting');
  }

  /** @param {ServerMessages['replay']} message */
  #replay(message) {
    if (message.state === 'left') this.#update({ replay: null }); // its link no longer names this session
    this.#on.serverNotice(message);
  }

  /** @param {ServerMessages['controls']} message */
  #controls(message) {
    this.#steers = message.holder === 'you';
    if (this.#info) this.#on.info(this.#info);
    this.#on.serverNotice(message);
  }

  #ping() {
    if (this.#connection.joined) this.#clock.asked(this.#connection.ping());
  }

  /**
   * Updates scene or seed: the page shows it, and a reconnect that finds the session gone asks for the same.
   * @param {Partial<SessionInfo>} change
   */
  #update(change) {
    if (!this.#info) return;
    this.#info = { ...this.#info, ...change };
    const { world, scene, seed, text, image, replay } = this.#info;
    this.#connection.remember({ world, scene, seed, text: text || undefined, image, replay: replay ?? undefined });
    this.#on.info(this.#info);
  }

  /** @param {ServerMessages['chunk']} message @param {ArrayBuffer} bytes */
  #arrived(message, bytes) {
    if (!this.#info) return;
    const chunk = { ...message, arrived: performance.now(), bytes: bytes.byteLength };
    this.#stream.arrived(chunk);
    this.#on.arrived?.(chunk);
    this.#players.current?.chunk(bytes, chunk, message.eager); // it answers an input: frames still waiting are outdated
  }

  /** @param {PlayedChunk} chunk @param {number} now */
  #frame(chunk, now) {
    this.#chunk = chunk;
    const pressed = this.#latency.presented(chunk.seq, now);
    if (chunk.index > this.#shown) {
      this.#shown = chunk.index;
      this.#connection.send('shown', { chunk: chunk.index });
      this.#stream.shown(chunk, now, this.#clock, pressed.at(-1) ?? null);
    }
    const asked = chunk.seq >= this.#askedAt; // else it is a frame from before the newest scene or reset
    if (this.#frameDue && asked) {
      this.#frameDue = false;
      this.#on.status(null);
      if (this.#pauses.size > 0) this.#connection.send('pause');
    }
    if (asked && chunk.scene && chunk.scene !== this.#info?.scene) this.#update({ scene: chunk.scene });
    this.#on.frame(chunk, now);
  }

  /** @param {ServerMessages['ended']} message */
  #ended(message) {
    this.#connection.close();
    this.#connection.forgetSession();
    store(TOKEN, null, 'sessionStorage');
    this.#players.current?.holdFrame();
    this.#state = null;
    this.#on.status('ended', message);
  }

  /** @param {ServerMessages['error']} message */
  #error({ code, message, seq }) {
    this.#on.refused?.(seq);
    if (code === 'session_gone') {
      this.#connection.forgetSession();
      if (this.#everReady) this.#on.toast('The earlier dream is gone; this is a new one with the same seed.');
      this.#connection.retryNow();
    } else if (code === 'unknown_image' && !this.#everReady && this.#connection.wanted.image) {
      this.#on.toast('The picture of this link is no longer kept here: the world begins without it.');
      this.#connection.again({ image: undefined });
    } else if (FINAL_ERRORS.has(code) && !this.#everReady) {
      this.#connection.close();
      this.#on.status('failed', { message: sentence(message) });
    } else {
      this.#on.toast(sentence(message));
    }
  }

  /** @param {import('./connection.js').Loss} loss */
  #lost({ attempt, reason, final, silent }) {
    this.#players.current?.holdFrame();
    this.#state = null;
    if (final) this.#on.status('refused', { reason: reason && sentence(reason) });
    else if (this.#everReady) this.#on.status('reconnecting', { attempt });
    else if (silent || attempt > UNREACHABLE_AFTER) this.#explain();
  }

  /** Shows why no session begins. */
  async #explain() {
    const { kind, reason } = await diagnose();
    if (!this.#everReady && !this.#connection.open) this.#on.status(kind, { reason });
  }

  /** @param {string} message */
  #playerFailed(message) {
    if (this.#players.unreliable) {
      if (this.#nextPlayer()) return;
      this.#connection.close();
      this.#on.status('broken', { message });
    } else {
      this.#connection.retryNow(); // the server begins a new stream, with a key frame, in the same session
    }
  }
}
