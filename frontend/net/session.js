/**
 * One visit: ties the socket, the player and the clocks together. It decides when the player skips, tells the server what
 * is on screen, pauses while nobody looks, comes back after a lost socket, and tries another player where one fails.
 */

import { ServerClock } from './clock.js';
import { Connection } from './connection.js';
import { Flow } from './stream_stats.js';
import { KeyToPicture } from './latency.js';
import { PLAYERS } from '../players/factory.js';
import { keep, recall } from '../lib/store.js';

const PLAYER_FAILURES = 3; // within this many ms a stream that keeps failing is given up
const FAILURE_WINDOW_MS = 20_000;
const UNREACHABLE_AFTER = 2;
const PING_EVERY_MS = 4000;
const TOKEN = 'token';
/** Error codes of a wish that the server cannot fulfil; asking again as it is would fail again. */
const HOPELESS = new Set([
  'unknown_world', 'unknown_scene', 'unsupported', 'world_failed', 'session_failed', 'unknown_watch', 'unknown_replay', 'unknown_image', 'bad_replay', 'full',
]);
/** What the server tells beside the dream; the page shows it. */
const NEWS = ['history', 'rewinding', 'audience', 'quality', 'limit', 'replay'];

export class Session {
  #stage;
  #on;
  #connection;
  #players = new Map();
  #usable = [];
  #player = null;
  #clock = new ServerClock();
  #flow = new Flow();
  #latency = new KeyToPicture();
  #info = null;
  #state = null;
  #chunk = null;
  #shown = -1;
  #pauses = new Set();
  #held = [];
  #failures = [];
  #everReady = false;
  #pictureDue = false;
  #differs = () => false;
  #askedAt = 0;

  /**
   * `on.status(kind, data)`: what the overlay must say, null for nothing. `on.info(info)`: the server's `ready`, with
   * scene and seed kept up to date. `on.frame(chunk, now)`: a frame is on screen. `on.arrived(chunk)`: one has come. `on.refused(seq)`: that message was.
   * `on.news(message)`: what the server tells beside, `ready` first. `on.notice(text)`: a passing remark.
   */
  constructor(stage, url, on) {
    this.#stage = stage;
    this.#on = on;
    this.#connection = new Connection(url, {
      connecting: (attempt) => this.#everReady || attempt > 0 || this.#on.status('connecting'),
      loading: (message) => this.#on.status('loading', message),
      queue: (message) => this.#on.status('queue', message),
      ready: (message) => this.#ready(message),
      init: (bytes) => this.#info && this.#player.init(bytes),
      chunk: (meta, bytes) => this.#arrived(meta, bytes),
      state: ({ state }) => { this.#state = state; },
      ended: (message) => this.#ended(message),
      error: (message) => this.#error(message),
      lost: (how) => this.#lost(how),
      pong: (message) => this.#clock.answered(message),
      ...Object.fromEntries(NEWS.map((type) => [type, (message) => this.#told(message)])),
    });
    setInterval(() => document.hidden || this.#ping(), PING_EVERY_MS);
  }

  /** Names of the players to use, the best first. Before `begin`. */
  usePlayers(names) {
    this.#usable = names;
    this.#takePlayer();
  }

  /** Begins a dream: `{world?, scene?, seed?, image?, replay?, watch?}`. */
  begin(wanted) {
    this.#pauses.clear();
    this.#everReady = false;
    this.#connection.begin(this.#asking(wanted));
  }

  /** Takes up this tab's dream from before a reload, where there is one; what `wanted` names differently starts over. */
  beginAgain(wanted) {
    const token = wanted.watch || wanted.replay ? null : recall(TOKEN, 'sessionStorage');
    this.#differs = (info) => ['scene', 'seed'].some((name) => wanted[name] !== undefined && wanted[name] !== info[name]);
    this.#connection.begin(this.#asking(wanted), token);
  }

  /** Connects again now: after `refused`, `reconnecting`, `codec`. */
  retry() {
    this.#connection.retryNow();
  }

  /** The full list of held keys; `pressedAt` is the time a key went down, for key-to-picture. */
  keys(down, pressedAt) {
    this.#held = down;
    if (!this.#takes('keys')) return;
    const seq = this.#connection.send('keys', { down });
    if (pressedAt !== null) this.#latency.pressed(seq, pressedAt);
  }

  look(yaw, pitch) {
    if (this.#takes('look')) this.#connection.send('look', { yaw, pitch });
  }

  /** Whether the world understands a control. */
  #takes(control) {
    return this.#info?.controls.includes(control) ?? false;
  }

  /** Goes on dreaming in another scene. */
  scene(name) {
    this.#askedAt = this.#connection.send('scene', { scene: name });
    this.#learn({ scene: name });
  }

  /** Tells the dream something, from the next chunk on. */
  say(text) {
    this.#connection.send('text', { text });
  }

  /** Begins the dream again, with another `scene` or `seed` where given, along the path `file` where one is named. Returns its seq. */
  reset({ scene = this.#info?.scene, seed = this.#info?.seed, file } = {}) {
    this.#latency.forget();
    this.#pictureDue = true;
    this.#askedAt = this.#connection.send('reset', { scene, seed, file });
    this.#learn({ scene, seed });
    return this.#askedAt;
  }

  /** Goes on after that chunk, on whatever branch it lies; along the path `file` from its `frame` on where one is named. */
  rewind(chunk, { file, frame } = {}) {
    this.#latency.forget();
    this.#askedAt = this.#connection.send('rewind', { chunk, file, frame });
    return this.#askedAt;
  }

  /** The camera stays where the path has led. Returns the message's seq. */
  leavePath() {
    return this.#connection.send('path', { stop: true });
  }

  /** Dreams nothing while there is a reason to pause (`menu`, `hidden`). */
  pause(reason) {
    if (this.#pauses.size === 0) this.#connection.send('pause');
    this.#pauses.add(reason);
    this.#latency.forget();
  }

  resume(reason) {
    if (!this.#pauses.delete(reason) || this.#pauses.size > 0) return;
    this.#connection.send('resume');
    this.#player?.goLive();
  }

  /** Name of the player in use. */
  get playerName() {
    return this.#usable[0] ?? null;
  }

  get info() {
    return this.#info;
  }

  /** `live`, `idle`, `paused`, or null before the first picture. */
  get state() {
    return this.#state;
  }

  /** Message of the newest chunk on screen. */
  get chunk() {
    return this.#chunk;
  }

  /** What is on screen, to be drawn into a canvas. */
  get picture() {
    return this.#player?.picture ?? this.#stage.querySelector('canvas');
  }

  get stats() {
    return {
      latency: this.#latency.stats, player: this.#player?.stats ?? null, seq: this.#connection.seq, connected: this.#connection.open,
      trip: this.#clock.trip, kbps: this.#flow.kbps, waiting: this.#flow.waiting,
    };
  }

  /** Seconds of video that have come since the page was opened. */
  get dreamedSeconds() {
    return this.#info ? this.#flow.frames / this.#info.fps : 0;
  }

  /** Key-to-picture times in ms, oldest first. */
  get latencies() {
    return this.#latency.samples;
  }

  /** Stages of the newest chunks, see `Flow`. */
  get timeline() {
    return this.#flow.chunks;
  }

  #asking(wanted) {
    return { ...wanted, player: PLAYERS[this.playerName].stream };
  }

  #takePlayer() {
    const name = this.playerName;
    if (name && !this.#players.has(name)) {
      this.#players.set(name, PLAYERS[name].make(this.#stage, {
        frame: (chunk, now) => name === this.playerName && this.#frame(chunk, now),
        failed: (message) => name === this.playerName && this.#playerFailed(message),
      }));
    }
    this.#player?.close();
    this.#player = this.#players.get(name) ?? null;
  }

  /** The next best player takes over; false where there is none. */
  #changePlayer() {
    if (this.#usable.length < 2) return false;
    this.#usable = this.#usable.slice(1);
    this.#failures = [];
    this.#takePlayer();
    this.#on.notice(`The picture now comes by ${PLAYERS[this.playerName].label}.`);
    this.#connection.again(this.#asking({}));
    return true;
  }

  #ready(message) {
    if (!PLAYERS[this.playerName].takes(message)) {
      if (this.#changePlayer()) return;
      this.#connection.close();
      this.#on.status('codec', message);
      return;
    }
    this.#everReady = true;
    this.#pictureDue = true;
    this.#askedAt = 0;
    this.#state = null;
    this.#shown = -1;
    this.#latency.forget();
    this.#clock.forget();
    this.#flow.forget();
    this.#player.open(message);
    this.#info = message;
    if (!message.spectator) keep(TOKEN, message.token, 'sessionStorage');
    const wanted = this.#differs(message) && message.resumed ? this.#connection.wanted : null;
    this.#differs = () => false;
    this.#learn({ scene: message.scene, seed: message.seed });
    this.#ping();
    this.#on.news(message);
    if (message.history) this.#on.news({ type: 'history', ...message.history });
    // A resumed session may have been paused by a page that was reloaded; a new one needs its first picture before a pause.
    if (message.resumed && !message.spectator) this.#connection.send(this.#pauses.size > 0 ? 'pause' : 'resume');
    if (wanted) this.reset(wanted);
    if (this.#held.length > 0 && this.#takes('keys')) this.#connection.send('keys', { down: this.#held });
    this.#on.status('starting');
  }

  #told(message) {
    if (message.type === 'replay' && message.state === 'left') this.#learn({ replay: null }); // its link no longer names this dream
    this.#on.news(message);
  }

  #ping() {
    if (this.#connection.joined) this.#clock.asked(this.#connection.send('ping'));
  }

  /** Scene or seed are new: the page shows it, and a reconnect that finds the session gone asks for the same. */
  #learn(change) {
    this.#info = { ...this.#info, ...change };
    const { world, scene, seed, replay } = this.#info;
    this.#connection.remember({ world, scene, seed, replay: replay ?? undefined });
    this.#on.info(this.#info);
  }

  #arrived(meta, bytes) {
    if (!this.#info) return;
    const chunk = { ...meta, arrived: performance.now(), bytes: bytes.byteLength };
    this.#flow.arrived(chunk);
    this.#on.arrived?.(chunk);
    this.#player.chunk(bytes, chunk, meta.eager); // begun at once for an input: what is still to play is old news
  }

  #frame(chunk, now) {
    this.#chunk = chunk;
    const pressed = this.#latency.presented(chunk.seq, now);
    if (chunk.index > this.#shown) {
      this.#shown = chunk.index;
      this.#connection.send('shown', { chunk: chunk.index });
      this.#flow.shown(chunk, now, this.#clock, pressed.at(-1) ?? null);
    }
    const asked = chunk.seq >= this.#askedAt; // else it is a picture from before the newest scene or reset
    if (this.#pictureDue && asked) {
      this.#pictureDue = false;
      this.#on.status(null);
      if (this.#pauses.size > 0) this.#connection.send('pause');
    }
    if (asked && chunk.scene && chunk.scene !== this.#info.scene) this.#learn({ scene: chunk.scene });
    this.#on.frame(chunk, now);
  }

  #ended(message) {
    this.#connection.close();
    this.#connection.forgetSession();
    keep(TOKEN, null, 'sessionStorage');
    this.#player?.keepStill();
    this.#state = null;
    this.#on.status('ended', message);
  }

  #error({ code, message, seq }) {
    this.#on.refused?.(seq);
    if (code === 'session_gone') {
      this.#connection.forgetSession();
      if (this.#everReady) this.#on.notice('The earlier dream is gone; this is a new one with the same seed.');
      this.#connection.retryNow();
    } else if (HOPELESS.has(code) && !this.#everReady) {
      this.#connection.close();
      this.#on.status('failed', { message: sentence(message) });
    } else {
      this.#on.notice(sentence(message));
    }
  }

  #lost({ attempt, reason, final }) {
    this.#player?.keepStill();
    this.#state = null;
    if (final) this.#on.status('refused', { reason: reason && sentence(reason) });
    else if (this.#everReady) this.#on.status('reconnecting', { attempt });
    else if (attempt > UNREACHABLE_AFTER) this.#diagnose();
  }

  /** A browser does not tell why a socket was refused; a plain request to the same server does. */
  async #diagnose() {
    let kind = 'unreachable';
    let reason = '';
    try {
      const answer = await fetch('api/worlds', { cache: 'no-store' });
      kind = answer.ok ? 'blocked' : 'refused';
      if (!answer.ok) reason = sentence((await answer.text()).slice(0, 300));
    } catch {
      // no server at all
    }
    if (!this.#everReady && !this.#connection.open) this.#on.status(kind, { reason });
  }

  #playerFailed(message) {
    const now = performance.now();
    this.#failures = [...this.#failures.filter((at) => now - at < FAILURE_WINDOW_MS), now];
    if (this.#failures.length > PLAYER_FAILURES) {
      if (this.#changePlayer()) return;
      this.#connection.close();
      this.#on.status('broken', { message });
    } else {
      this.#connection.retryNow(); // the server begins a new stream, with a key frame, in the same dream
    }
  }
}

/** Server messages begin in lower case where they name a field; on the page they are sentences. */
function sentence(text) {
  const tidy = text.trim();
  return tidy.charAt(0).toUpperCase() + tidy.slice(1) + (/[.!?]$/.test(tidy) ? '' : '.');
}
