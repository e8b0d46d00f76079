// @ts-check
/**
 * The kiosk's states: `attract` follows camera paths until a visitor touches a control, `visit` lasts until its time is up
 * or the visitor is gone, `farewell` shows the clip, then `attract` again. `trouble` ends by itself: whatever happens to
 * the server or the session, the page returns to `attract`.
 */

/** @typedef {import('../net/session.js').Session} Session */
/** @typedef {import('./screens.js').Screens} Screens */
/**
 * Settings of `api/kiosk`.
 * @typedef {object} KioskSettings
 * @property {string} title
 * @property {string} subtitle
 * @property {{accent: string, background: string, text: string}} colours
 * @property {string | null} logo
 * @property {number} clip_seconds
 * @property {boolean} clips
 * @property {{scene: string, path: string}[]} attract
 * @property {{name: string, title: string}[]} scenes
 * @property {Record<'visitor_seconds' | 'idle_seconds' | 'warn_seconds' | 'farewell_seconds' | 'attract_seconds', number>} limits
 */
/** `enable(enabled)`: lets controls reach the world. `holding()`: true while a control is held. `reload()`: loads the page again. @typedef {{enable: (enabled: boolean) => void, holding: () => boolean, reload: () => void}} KioskHandlers */

const CLIP_TIMEOUT_MS = 4000;
const TICK_MS = 200;
const ASK_SECONDS = 10; // before an idle visitor counts as gone
const IGNORE_MS = 2500; // after a visit: keys still pressed must not start the next one
const STUCK_MS = 12_000;
const RETRY_MS = 1500;

export class Kiosk {
  /** @type {Session} */
  #session;
  /** @type {Screens} */
  #screens;
  /** @type {KioskHandlers} */
  #on;
  /** @type {KioskSettings} */
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
   * @param {Session} session
   * @param {Screens} screens
   * @param {KioskSettings} settings
   * @param {KioskHandlers} on
   */
  constructor(session, screens, settings, on) {
    this.#session = session;
    this.#screens = screens;
    this.#settings = settings;
    this.#on = on;
    setInterval(() => this.#tick(performance.now()), TICK_MS);
  }

  /** Values for `window.flashdreams`. */
  get view() {
    return { kiosk: this.#screens.now, visits: this.#visits, step: this.#step };
  }

  /** A control was touched. Returns true if the event may also move the camera. */
  touched() {
    const now = performance.now();
    this.#touchedAt = now;
    this.#screens.stillThere(false);
    const state = this.#screens.now;
    if (state === 'attract' || (state === 'farewell' && now - this.#farewellSince > IGNORE_MS)) this.#begin(now, state);
    return this.#screens.now === 'visit';
  }

  /**
   * A frame is on screen.
   * @param {number} now
   */
  frame(now) {
    this.#movedAt = now;
  }

  /**
   * The session's status changed; null: a frame is on screen.
   * @param {string | null} kind
   * @param {{seconds?: number | null, position?: number, attempt?: number}} data
   */
  status(kind, data = {}) {
    const state = this.#screens.now;
    if (kind === 'preparing') this.#movedAt = performance.now(); // it goes on
    if (kind === 'preparing' && state !== 'trouble') return; // the picture before stays meanwhile
    this.#picture = kind === null;
    if (kind === null) {
      if (state === 'trouble' || state === 'waiting') this.#attract();
    } else if (kind === 'queue') {
      this.#movedAt = performance.now(); // a reload would lose the place in the queue
      const wait = data.seconds ? ` In about ${Math.ceil(data.seconds / 60)} min.` : '';
      this.#screens.trouble(data.position === 1 ? 'You are next' : `Number ${data.position} in line`, `All places are taken.${wait}`);
    } else if (kind === 'ended') {
      this.#trouble();
      setTimeout(() => this.#session.begin(this.#wanted()), RETRY_MS);
    } else if (kind === 'loading') {
      this.#screens.trouble('Waking the dreamer');
    } else if (kind === 'preparing') {
      this.#screens.trouble('Dreaming a new place');
    } else if (kind !== null && ['refused', 'failed', 'broken', 'codec', 'blocked', 'unreachable'].includes(kind)) {
      this.#trouble();
      this.#on.reload();
    } else if (kind === 'reconnecting' && (data.attempt ?? 0) > 1) {
      this.#trouble();
    }
  }

  #trouble() {
    this.#on.enable(false);
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
    this.#on.enable(false);
    this.#screens.clip(null);
    this.#screens.show('attract');
    this.#followNext();
  }

  /** Follows the next camera path of the loop from its first pose, in a new rollout. */
  #followNext() {
    this.#step += 1;
    this.#sceneSince = performance.now();
    const next = this.#next(0);
    if (!next) return;
    this.#screens.scene(this.#settings.scenes.find(({ name }) => name === next.scene)?.title ?? '');
    this.#session.reset({ scene: next.scene, seed: drawSeed(), file: next.path });
  }

  /**
   * @param {number} now
   * @param {string} from state before
   */
  #begin(now, from) {
    this.#visits += 1;
    this.#visitSince = now;
    this.#screens.clip(null);
    this.#screens.show('visit');
    this.#on.enable(true);
    // From the attract loop a visitor walks on from where it is, within a chunk; after a farewell a new rollout starts.
    if (from === 'farewell') this.#session.reset({ scene: this.#next()?.scene, seed: drawSeed() });
  }

  /** Saves the visit's last seconds on the server. Returns the address of the QR code to them, or null where there is none. */
  async #saveClip() {
    const token = encodeURIComponent(this.#session.info?.token ?? '');
    try {
      const response = await fetch(`api/kiosk/clips/${token}`, { method: 'POST', signal: AbortSignal.timeout(CLIP_TIMEOUT_MS) });
      return response.ok ? String((await response.json()).qr).replace(/^\//, '') : null;
    } catch {
      return null; // no address set, nothing recorded, a full disk
    }
  }

  async #farewell() {
    this.#on.enable(false);
    this.#farewellSince = performance.now();
    this.#screens.show('farewell');
    const qr = this.#settings.clips ? await this.#saveClip() : null;
    if (this.#screens.now === 'farewell') this.#screens.clip(qr);
  }

  /** @param {number} now */
  #tick(now) {
    const { visitor_seconds: visit, idle_seconds: idle, warn_seconds: warn, farewell_seconds: farewell, attract_seconds: attract } = this.#settings.limits;
    const state = this.#screens.now;
    if (state === 'attract') {
      const ended = this.#session.state === 'idle' && now - this.#sceneSince > 4000;
      if (this.#picture && (ended || now - this.#sceneSince > attract * 1000)) this.#followNext();
    } else if (state === 'visit') {
      if (this.#on.holding()) this.#touchedAt = now; // a key that stays pressed fires no event
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
      this.#movedAt = now; // once; the page is about to reload
      this.#on.reload();
    }
  }
}

function drawSeed() {
  return crypto.getRandomValues(new Uint32Array(1))[0];
}
