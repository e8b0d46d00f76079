/**
 * Looking around: the taken mouse, dragging with mouse or finger, and sticks. Turns gather, so that a fast hand does not
 * flood the socket.
 */

const SEND_EVERY_MS = 33;
const MOUSE_DEG_PER_PX = 0.1;
const TOUCH_DEG_PER_PX = 0.22;
const CLICK_PX = 6;
const LARGEST_LOOK_DEG = 60; // one jump of a misbehaving mouse must not spin the world

export class Look {
  #surface;
  #on;
  #enabled = false;
  #sum = { yaw: 0, pitch: 0 };
  #timer = 0;
  #lastSent = 0;
  #rates = new Map();
  #turnedAt = 0;
  #drag = null;
  #dragged = 0;

  /** `surface`: the element that takes the mouse and drags. `on.look(yaw, pitch)` in degrees, `on.lock(locked)`. */
  constructor(surface, on) {
    this.#surface = surface;
    this.#on = on;
    document.addEventListener('pointerlockchange', () => this.#lockChanged());
    document.addEventListener('mousemove', (event) => this.locked && this.#moved(event.movementX, event.movementY, MOUSE_DEG_PER_PX));
    surface.addEventListener('pointerdown', (event) => this.#dragStart(event));
    surface.addEventListener('pointermove', (event) => this.#dragMove(event));
    for (const end of ['pointerup', 'pointercancel']) surface.addEventListener(end, (event) => this.#dragEnd(event));
  }

  get locked() {
    return document.pointerLockElement === this.#surface;
  }

  /** Whether the last press on the surface was a drag; its click is then no click. */
  get dragged() {
    return this.#dragged > CLICK_PX;
  }

  enable(enabled) {
    this.#enabled = enabled;
  }

  /** Lets go of the drag, of the sticks, and of what has not been sent. */
  letGo() {
    this.#drag = null;
    this.#rates.clear();
    this.#sum = { yaw: 0, pitch: 0 };
  }

  /** Asks for the mouse; where it is refused, dragging looks around. Must be called from a gesture. */
  async lock() {
    if (!this.#surface.requestPointerLock || matchMedia('(pointer: coarse)').matches) return;
    try {
      await this.#surface.requestPointerLock({ unadjustedMovement: true });
    } catch (error) {
      if (error.name !== 'NotSupportedError') return; // refused: too soon after Esc, or forbidden here
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

  /** A stick of `source` turns by `yaw` and `pitch` degrees a second from now on. */
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
    const seconds = Math.min(0.1, (now - this.#turnedAt) / 1000); // a page that stood still must not jump
    this.#turnedAt = now;
    for (const { yaw, pitch } of this.#rates.values()) this.#turn(yaw * seconds, pitch * seconds);
    requestAnimationFrame(() => this.#turnOn());
  }

  #lockChanged() {
    this.#drag = null;
    this.#on.lock(this.locked);
  }

  #dragStart(event) {
    if (this.#drag) return;
    this.#dragged = 0;
    if (!this.#enabled || this.locked || event.button !== 0) return;
    this.#drag = { id: event.pointerId, x: event.clientX, y: event.clientY };
    this.#surface.setPointerCapture(event.pointerId);
  }

  #dragMove(event) {
    if (event.pointerId !== this.#drag?.id || this.locked) return;
    const scale = event.pointerType === 'touch' ? TOUCH_DEG_PER_PX : 2 * MOUSE_DEG_PER_PX;
    const [dx, dy] = [event.clientX - this.#drag.x, event.clientY - this.#drag.y];
    this.#dragged += Math.abs(dx) + Math.abs(dy);
    this.#moved(dx, dy, scale);
    this.#drag.x = event.clientX;
    this.#drag.y = event.clientY;
  }

  #dragEnd(event) {
    if (event.pointerId === this.#drag?.id) this.#drag = null;
  }

  /** Right turns right, up looks up. */
  #moved(dx, dy, degreesPerPixel) {
    this.#turn(dx * degreesPerPixel, -dy * degreesPerPixel);
  }

  #turn(yaw, pitch) {
    if (!this.#enabled) return;
    this.#sum.yaw += yaw;
    this.#sum.pitch += pitch;
    if (this.#timer) return;
    const wait = Math.max(0, this.#lastSent + SEND_EVERY_MS - performance.now());
    this.#timer = setTimeout(() => this.#send(), wait);
  }

  #send() {
    this.#timer = 0;
    this.#lastSent = performance.now();
    const { yaw, pitch } = this.#sum;
    this.#sum = { yaw: 0, pitch: 0 };
    if (this.#enabled && (yaw || pitch)) this.#on.look(bounded(yaw), bounded(pitch));
  }
}

function bounded(degrees) {
  return Math.round(100 * Math.max(-LARGEST_LOOK_DEG, Math.min(LARGEST_LOOK_DEG, degrees))) / 100;
}
