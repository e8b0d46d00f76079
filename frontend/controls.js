/**
 * The visitor's hands: held keys as one full list, looking around with the mouse, by dragging or by touch, and a thumb
 * stick for phones. Everything is let go when the window loses the eye or the focus.
 */

import { MOTION, commandOf } from './keymap.js';

const LOOK_EVERY_MS = 33;
const MOUSE_DEG_PER_PX = 0.1;
const TOUCH_DEG_PER_PX = 0.22;
const CLICK_PX = 6;
const LARGEST_LOOK_DEG = 60; // one jump of a misbehaving mouse must not spin the world

export class Controls {
  #surface;
  #on;
  #keys = new Map();
  #stick = [];
  #down = [];
  #enabled = false;
  #look = { yaw: 0, pitch: 0 };
  #lookTimer = 0;
  #lastLook = 0;
  #drag = null;
  #dragged = 0;

  /**
   * `surface`: the element that takes clicks and drags. `on.keys(down, {pressedAt})` with the full list whenever it
   * changes (`pressedAt`: time of the key event if a key went down, else null), `on.look(yaw, pitch)` in degrees,
   * `on.command(name)`, `on.lock(locked)`, `on.wake(event)` for a motion key while not enabled; true takes it.
   */
  constructor(surface, on) {
    this.#surface = surface;
    this.#on = on;
    window.addEventListener('keydown', (event) => this.#keydown(event));
    window.addEventListener('keyup', (event) => this.#keyup(event));
    window.addEventListener('blur', () => this.releaseAll());
    document.addEventListener('visibilitychange', () => document.visibilityState === 'hidden' && this.releaseAll());
    document.addEventListener('pointerlockchange', () => this.#lockChanged());
    document.addEventListener('mousemove', (event) => this.locked && this.#turn(event.movementX, event.movementY, MOUSE_DEG_PER_PX));
    surface.addEventListener('pointerdown', (event) => this.#dragStart(event));
    surface.addEventListener('pointermove', (event) => this.#dragMove(event));
    surface.addEventListener('pointerup', (event) => this.#dragEnd(event));
    surface.addEventListener('pointercancel', (event) => this.#dragEnd(event));
  }

  /** Names of the keys held now, in the order they were pressed. */
  get held() {
    return [...this.#down];
  }

  get locked() {
    return document.pointerLockElement === this.#surface;
  }

  /** Whether keys and looks go to the world. */
  get enabled() {
    return this.#enabled;
  }

  /** Whether the last press on the surface was a drag; its click is then no click. */
  get dragged() {
    return this.#dragged > CLICK_PX;
  }

  enable(enabled) {
    if (!enabled) this.releaseAll();
    this.#enabled = enabled;
  }

  /** Lets go of everything, and says so once. */
  releaseAll() {
    this.#keys.clear();
    this.#stick = [];
    this.#drag = null;
    this.#look = { yaw: 0, pitch: 0 };
    this.#changed(null);
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

  /** The thumb stick's keys, beside the keyboard's. */
  setStick(names) {
    if (names.join() === this.#stick.join()) return;
    const pressed = names.some((name) => !this.#stick.includes(name));
    this.#stick = names;
    this.#changed(pressed ? performance.now() : null);
  }

  #keydown(event) {
    if (event.key === 'Meta') this.releaseAll(); // while it is held, macOS keeps key releases to itself
    if (event.ctrlKey || event.altKey || event.metaKey || isTyping(event.target)) return;
    const name = MOTION[event.code];
    if (name) {
      if (!this.#enabled && !(this.#on.wake(event) && this.#enabled)) return;
      event.preventDefault(); // arrows would scroll
      if (event.repeat || this.#keys.has(event.code)) return;
      this.#keys.set(event.code, name);
      this.#changed(event.timeStamp);
      return;
    }
    const command = commandOf(event);
    if (!command || event.repeat) return;
    if (command === 'help') event.preventDefault();
    this.#on.command(command);
  }

  #keyup(event) {
    if (this.#keys.delete(event.code)) this.#changed(null);
  }

  #changed(pressedAt) {
    const down = [...new Set([...this.#keys.values(), ...this.#stick])];
    if (down.join() === this.#down.join()) return;
    this.#down = down;
    this.#on.keys([...down], { pressedAt });
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
    this.#turn(dx, dy, scale);
    this.#drag.x = event.clientX;
    this.#drag.y = event.clientY;
  }

  #dragEnd(event) {
    if (event.pointerId === this.#drag?.id) this.#drag = null;
  }

  /** Right turns right, up looks up; deltas gather so that a fast mouse does not flood the socket. */
  #turn(dx, dy, degreesPerPixel) {
    if (!this.#enabled) return;
    this.#look.yaw += dx * degreesPerPixel;
    this.#look.pitch -= dy * degreesPerPixel;
    if (this.#lookTimer) return;
    const wait = Math.max(0, this.#lastLook + LOOK_EVERY_MS - performance.now());
    this.#lookTimer = setTimeout(() => this.#sendLook(), wait);
  }

  #sendLook() {
    this.#lookTimer = 0;
    this.#lastLook = performance.now();
    const { yaw, pitch } = this.#look;
    this.#look = { yaw: 0, pitch: 0 };
    if (this.#enabled && (yaw || pitch)) this.#on.look(bounded(yaw), bounded(pitch));
  }
}

function bounded(degrees) {
  return Math.round(100 * Math.max(-LARGEST_LOOK_DEG, Math.min(LARGEST_LOOK_DEG, degrees))) / 100;
}

function isTyping(target) {
  return target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement;
}
