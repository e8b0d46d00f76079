/**
 * The kiosk's day: `attract` dreams along paths until somebody touches a control, `visit` is theirs until time is up or
 * they are gone, `farewell` shows the clip, and around again. `trouble` ends by itself: whatever happens to the server or
 * the dream, the page comes back to `attract` alone.
 */

import { keepClip } from './clip.js';

const TICK_MS = 200;
const ASK_SECONDS = 10; // before an idle visitor counts as gone
const DEAF_MS = 2500; // after a visit: hands still on the keys must not begin the next one
const STUCK_MS = 12_000;
const RETRY_MS = 1500;

export class Kiosk {
  #session;
  #screens;
  #on;
  #settings;
  #step = -1;
  #sceneSince = 0;
  #visitSince = 0;
  #touchedAt = 0;
  #farewellSince = 0;
  #movedAt = performance.now();
  #picture = false;
  #visits = 0;

  /**
   * `on.free(free)`: whether controls reach the dream. `on.holding()`: whether a
   * control is held. `on.reload()`: the page must begin again.
   */
  constructor(session, screens, settings, on) {
    this.#session = session;
    this.#screens = screens;
    this.#settings = settings;
    this.#on = on;
    setInterval(() => this.#tick(performance.now()), TICK_MS);
  }

  get view() {
    return { kiosk: this.#screens.now, visits: this.#visits, step: this.#step };
  }

  /** Somebody touched a control. True if the same event may also steer. */
  touched() {
    const now = performance.now();
    this.#touchedAt = now;
    this.#screens.stillThere(false);
    const state = this.#screens.now;
    if (state === 'attract' || (state === 'farewell' && now - this.#farewellSince > DEAF_MS)) this.#begin(now, state);
    return this.#screens.now === 'visit';
  }

  /** A frame is on screen. */
  frame(now) {
    this.#movedAt = now;
  }

  /** What the session says of itself; null is a picture. */
  status(kind, data = {}) {
    this.#picture = kind === null;
    const state = this.#screens.now;
    if (kind === null) {
      if (state === 'trouble' || state === 'waiting') this.#attract();
    } else if (kind === 'queue') {
      this.#movedAt = performance.now(); // whoever began again would stand last in line
      const wait = data.seconds ? ` In about ${Math.ceil(data.seconds / 60)} min.` : '';
      this.#screens.trouble(data.position === 1 ? 'You are next' : `Number ${data.position} in line`, `All places are taken.${wait}`);
    } else if (kind === 'ended') {
      this.#trouble();
      setTimeout(() => this.#session.begin(this.#wanted()), RETRY_MS);
    } else if (kind === 'loading') {
      this.#screens.trouble('Waking the dreamer');
    } else if (['refused', 'failed', 'broken', 'codec', 'blocked', 'unreachable'].includes(kind)) {
      this.#trouble();
      this.#on.reload();
    } else if (kind === 'reconnecting' && data.attempt > 1) {
      this.#trouble();
    }
  }

  #trouble() {
    this.#on.free(false);
    this.#screens.trouble('One moment', 'The dream is coming back.');
  }

  #wanted() {
    return { scene: this.#next(0)?.scene };
  }

  #next(by = 1) {
    const { attract } = this.#settings;
    return attract.length > 0 ? attract[(this.#step + by + attract.length) % attract.length] : null;
  }

  #attract() {
    this.#on.free(false);
    this.#screens.clip(null);
    this.#screens.show('attract');
    this.#along();
  }

  /** The next path of the loop, from its first pose, in a dream of its own. */
  #along() {
    this.#step += 1;
    this.#sceneSince = performance.now();
    const next = this.#next(0);
    if (!next) return;
    this.#screens.scene(this.#settings.scenes.find(({ name }) => name === next.scene)?.title ?? '');
    this.#session.reset({ scene: next.scene, seed: drawSeed(), file: next.path });
  }

  #begin(now, from) {
    this.#visits += 1;
    this.#visitSince = now;
    this.#screens.clip(null);
    this.#screens.show('visit');
    this.#on.free(true);
    // From the attract loop a visitor walks on from where it is, within a chunk; after a farewell a fresh dream begins.
    if (from === 'farewell') this.#session.reset({ scene: this.#next().scene, seed: drawSeed() });
  }

  async #farewell() {
    this.#on.free(false);
    this.#farewellSince = performance.now();
    this.#screens.show('farewell');
    const qr = this.#settings.clips ? await keepClip(this.#session.info.token) : null;
    if (this.#screens.now === 'farewell') this.#screens.clip(qr);
  }

  #tick(now) {
    const { visitor_seconds: visit, idle_seconds: idle, warn_seconds: warn, farewell_seconds: farewell, attract_seconds: attract } = this.#settings.limits;
    const state = this.#screens.now;
    if (state === 'attract') {
      const ended = this.#session.state === 'idle' && now - this.#sceneSince > 4000;
      if (this.#picture && (ended || now - this.#sceneSince > attract * 1000)) this.#along();
    } else if (state === 'visit') {
      if (this.#on.holding()) this.#touchedAt = now; // a key that rests pressed tells of no event
      const left = visit - (now - this.#visitSince) / 1000;
      const gone = idle - (now - this.#touchedAt) / 1000;
      this.#screens.left(left, left < warn);
      this.#screens.stillThere(gone < Math.min(ASK_SECONDS, idle / 2));
      if (left <= 0) this.#farewell();
      else if (gone <= 0) this.#attract();
    } else if (state === 'farewell' && now - this.#farewellSince > farewell * 1000) {
      this.#attract();
    }
    const mustMove = state === 'attract' || state === 'trouble' || state === 'waiting' || this.#session.state === 'live';
    if (!mustMove || document.hidden) this.#movedAt = now;
    else if (now - this.#movedAt > STUCK_MS) {
      this.#movedAt = now; // once; the page is about to begin again
      this.#on.reload();
    }
  }
}

function drawSeed() {
  return crypto.getRandomValues(new Uint32Array(1))[0];
}
