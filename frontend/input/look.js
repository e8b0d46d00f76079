// @ts-check
/** Turns of the view: by pointer lock, by drags of mouse or finger, and by sticks, and the wheel; summed, so that few messages are sent. */

const SEND_EVERY_MS = 33;
const MOUSE_DEG_PER_PX = 0.1;
const TOUCH_DEG_PER_PX = 0.22;
const CLICK_PX = 6;
const LARGEST_LOOK_DEG = 60; // some mice report single large jumps
/** The wheel's report for one notch, by `deltaMode`: pixels, lines, pages. */
const PER_NOTCH = Object.freeze([100, 3, 1]);
const MOST_NOTCHES = 20;

/** @typedef {{look: (yaw: number, pitch: number, scroll: number) => void, lock: (locked: boolean) => void}} LookHandlers `look` in degrees and wheel notches. */

export class Look {
  /** @type {HTMLElement} */
  #surface;
  /** @type {LookHandlers} */
  #on;
  #enabled = false;
  #sum = { yaw: 0, pitch: 0, scroll: 0 };
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #lastSent = 0;
  /** @type {Map<string, {yaw: number, pitch: number}>} */
  #rates = new Map();
  #turnedAt = 0;
  /** @type {{id: number, x: number, y: number} | null} */
  #drag = null;
  #dragged = 0;

  /**
   * @param {HTMLElement} surface element that is dragged and captures the mouse
   * @param {LookHandlers} on
   */
  constructor(surface, on) {
    this.#surface = surface;
    this.#on = on;
    document.addEventListener('pointerlockchange', () => this.#lockChanged());
    document.addEventListener('mousemove', (event) => this.locked && this.#moved(event.movementX, event.movementY, MOUSE_DEG_PER_PX));
    surface.addEventListener('pointerdown', (event) => this.#dragStart(event));
    surface.addEventListener('pointermove', (event) => this.#dragMove(event));
    surface.addEventListener('wheel', (event) => this.#turn(0, 0, -event.deltaY / PER_NOTCH[event.deltaMode]), { passive: true });
    for (const end of /** @type {const} */ (['pointerup', 'pointercancel'])) surface.addEventListener(end, (event) => this.#dragEnd(event));
  }

  get locked() {
    return document.pointerLockElement === this.#surface;
  }

  /** True if the last press on the surface was a drag; its click event is then ignored. */
  get dragged() {
    return this.#dragged > CLICK_PX;
  }

  /** @param {boolean} enabled */
  enable(enabled) {
    this.#enabled = enabled;
  }

  /** Ends drags and stick turns, and drops what has not been sent. */
  release() {
    this.#drag = null;
    this.#rates.clear();
    this.#sum = { yaw: 0, pitch: 0, scroll: 0 };
  }

  /** Requests pointer lock; where it is refused, dragging turns. Call it from a user gesture. */
  async lock() {
    if (!this.#surface.requestPointerLock || matchMedia('(pointer: coarse)').matches) return;
    try {
      await this.#surface.requestPointerLock({ unadjustedMovement: true });
    } catch (error) {
      if (!(error instanceof DOMException) || error.name !== 'NotSupportedError') return; // refused: too soon after Esc, or forbidden here
      try {
        await this.#surface.requestPointerLock();
      } catch {
        // dragging works without it
      }
    }
  }

  unlock() {
    if (this.locked) document.exitPointerLock();
  }

  /**
   * Sets the turn of a stick in degrees a second.
   * @param {string} source
   * @param {{yaw: number, pitch: number}} rate
   */
  setRate(source, { yaw, pitch }) {
    const resting = this.#rates.size === 0;
    if (yaw || pitch) this.#rates.set(source, { yaw, pitch });
    else this.#rates.delete(source);
    if (!resting || this.#rates.size === 0) return;
    this.#turnedAt = performance.now();
    requestAnimationFrame(() => this.#turnOn());
  }

  #turnOn() {
    if (this.#rates.size === 0) return;
    const now = performance.now();
    const seconds = Math.min(0.1, (now - this.#turnedAt) / 1000); // no jump after a pause of the page
    this.#turnedAt = now;
    for (const { yaw, pitch } of this.#rates.values()) this.#turn(yaw * seconds, pitch * seconds);
    requestAnimationFrame(() => this.#turnOn());
  }

  #lockChanged() {
    this.#drag = null;
    this.#on.lock(this.locked);
  }

  /** @param {PointerEvent} event */
  #dragStart(event) {
    if (this.#drag) return;
    this.#dragged = 0;
    if (!this.#enabled || this.locked || event.button !== 0) return;
    this.#drag = { id: event.pointerId, x: event.clientX, y: event.clientY };
    this.#surface.setPointerCapture(event.pointerId);
  }

  /** @param {PointerEvent} event */
  #dragMove(event) {
    if (!this.#drag || event.pointerId !== this.#drag.id || this.locked) return;
    const scale = event.pointerType === 'touch' ? TOUCH_DEG_PER_PX : 2 * MOUSE_DEG_PER_PX;
    const [dx, dy] = [event.clientX - this.#drag.x, event.clientY - this.#drag.y];
    this.#dragged += Math.abs(dx) + Math.abs(dy);
    this.#moved(dx, dy, scale);
    this.#drag.x = event.clientX;
    this.#drag.y = event.clientY;
  }

  /** @param {PointerEvent} event */
  #dragEnd(event) {
    if (event.pointerId === this.#drag?.id) this.#drag = null;
  }

  /**
   * Right turns right, up looks up.
   * @param {number} dx
   * @param {number} dy
   * @param {number} degreesPerPixel
   */
  #moved(dx, dy, degreesPerPixel) {
    this.#turn(dx * degreesPerPixel, -dy * degreesPerPixel);
  }

  /**
   * @param {number} yaw
   * @param {number} pitch
   * @param {number} scroll wheel notches, upwards
   */
  #turn(yaw, pitch, scroll = 0) {
    if (!this.#enabled) return;
    this.#sum.scroll += scroll;
    this.#sum.yaw += yaw;
    this.#sum.pitch += pitch;
    if (this.#timer) return;
    const wait = Math.max(0, this.#lastSent + SEND_EVERY_MS - performance.now());
    this.#timer = setTimeout(() => this.#send(), wait);
  }

  #send() {
    this.#timer = undefined;
    this.#lastSent = performance.now();
    const { yaw, pitch, scroll } = this.#sum;
    this.#sum = { yaw: 0, pitch: 0, scroll: 0 };
    const notches = Math.max(-MOST_NOTCHES, Math.min(MOST_NOTCHES, scroll));
    if (this.#enabled && (yaw || pitch || scroll)) this.#on.look(bounded(yaw), bounded(pitch), notches);
  }
}

/** @param {number} degrees */
function bounded(degrees) {
  return Math.round(100 * Math.max(-LARGEST_LOOK_DEG, Math.min(LARGEST_LOOK_DEG, degrees))) / 100;
}
