/**
 * One visit: ties the socket, the player and the key-to-picture clock together. It decides when the player skips, tells
 * the server what is on screen, pauses while nobody looks, and comes back after a lost socket.
 */

import { Connection } from './connection.js';
import { KeyToPicture } from './latency.js';
import { MsePlayer } from './player.js';

const PLAYER_FAILURES = 3; // within this many ms a stream that keeps failing is given up
const FAILURE_WINDOW_MS = 20_000;
const UNREACHABLE_AFTER = 2;
/** Error codes of a wish that the server cannot fulfil; asking again as it is would fail again. */
const HOPELESS = new Set(['unknown_world', 'unknown_scene', 'unsupported', 'world_failed', 'session_failed']);

export class Session {
  #on;
  #connection;
  #player;
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
   * scene and seed kept up to date. `on.frame(chunk, now)`: a frame is on screen. `on.notice(text)`: a passing remark.
   */
  constructor(stage, url, on) {
    this.#on = on;
    this.#player = new MsePlayer(stage, {
      frame: (chunk, now) => this.#frame(chunk, now),
      failed: (message) => this.#playerFailed(message),
    });
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
    });
  }

  /** Begins a dream: `{world?, scene?, seed?}`. */
  begin(wanted) {
    this.#pauses.clear();
    this.#everReady = false;
    this.#connection.begin(wanted);
  }

  /** Takes up this tab's dream from before a reload, where there is one; what `wanted` names differently starts over. */
  beginAgain(wanted) {
    this.#differs = (info) => ['scene', 'seed'].some((name) => wanted[name] !== undefined && wanted[name] !== info[name]);
    this.#connection.begin(wanted, recall());
  }

  /** Connects again now: after `refused`, `reconnecting`, `codec`. */
  retry() {
    this.#connection.retryNow();
  }

  /** The full list of held keys; `pressedAt` is the time a key went down, for key-to-picture. */
  keys(down, pressedAt) {
    this.#held = down;
    const seq = this.#connection.send('keys', { down });
    if (pressedAt !== null) this.#latency.pressed(seq, pressedAt);
  }

  look(yaw, pitch) {
    this.#connection.send('look', { yaw, pitch });
  }

  /** Goes on dreaming in another scene. */
  scene(name) {
    this.#askedAt = this.#connection.send('scene', { scene: name });
    this.#learn({ scene: name });
  }

  /** Begins the dream again, with another `scene` or `seed` where given. */
  reset({ scene = this.#info?.scene, seed = this.#info?.seed } = {}) {
    this.#latency.forget();
    this.#pictureDue = true;
    this.#askedAt = this.#connection.send('reset', { scene, seed });
    this.#learn({ scene, seed });
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
    this.#player.goLive();
  }

  /** Closes the socket for good and leaves the last picture. */
  close() {
    this.#connection.close();
    this.#player.close();
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
    return this.#player.picture;
  }

  get stats() {
    return { latency: this.#latency.stats, player: this.#player.stats, seq: this.#connection.seq, connected: this.#connection.open };
  }

  get latencies() {
    return this.#latency.samples;
  }

  #ready(message) {
    if (!MsePlayer.canPlay(message.mime)) {
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
    this.#player.open(message);
    this.#info = message;
    remember(message.token);
    const wanted = this.#differs(message) && message.resumed ? this.#connection.wanted : null;
    this.#differs = () => false;
    this.#learn({ scene: message.scene, seed: message.seed });
    // A resumed session may have been paused by a page that was reloaded; a new one needs its first picture before a pause.
    if (message.resumed) this.#connection.send(this.#pauses.size > 0 ? 'pause' : 'resume');
    if (wanted) this.reset(wanted);
    if (this.#held.length > 0) this.#connection.send('keys', { down: this.#held });
    this.#on.status('starting');
  }

  /** Scene or seed are new: the page shows it, and a reconnect that finds the session gone asks for the same. */
  #learn(change) {
    this.#info = { ...this.#info, ...change };
    const { world, scene, seed } = this.#info;
    this.#connection.remember({ world, scene, seed });
    this.#on.info(this.#info);
  }

  #arrived(meta, bytes) {
    if (!this.#info) return;
    this.#player.chunk(bytes, meta, meta.eager); // begun at once for an input: what is still to play is old news
  }

  #frame(chunk, now) {
    this.#chunk = chunk;
    if (chunk.index > this.#shown) {
      this.#shown = chunk.index;
      this.#connection.send('shown', { chunk: chunk.index });
    }
    this.#latency.presented(chunk.seq, now);
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
    remember(null);
    this.#player.keepStill();
    this.#state = null;
    this.#on.status('ended', message);
  }

  #error({ code, message }) {
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
    this.#player.keepStill();
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
      this.#connection.close();
      this.#on.status('broken', { message });
    } else {
      this.#connection.retryNow(); // the server begins a new stream, with a key frame, in the same dream
    }
  }
}

const TOKEN = 'flashdreams.token';

/** The resume token that this tab kept over a reload, or null. */
function recall() {
  try {
    return sessionStorage.getItem(TOKEN);
  } catch {
    return null; // storage is forbidden here; a reload then begins anew
  }
}

function remember(token) {
  try {
    if (token) sessionStorage.setItem(TOKEN, token);
    else sessionStorage.removeItem(TOKEN);
  } catch {
    // as above
  }
}

/** Server messages begin in lower case where they name a field; on the page they are sentences. */
function sentence(text) {
  const tidy = text.trim();
  return tidy.charAt(0).toUpperCase() + tidy.slice(1) + (/[.!?]$/.test(tidy) ? '' : '.');
}
