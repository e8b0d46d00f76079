/**
 * The visitor's hands: keyboard, thumb sticks and gamepads, all at once, as one full list of held keys; looking around
 * beside it. Everything is let go when the window loses the eye or the focus.
 */

import { Gamepads } from './gamepad.js';
import { meaningOf } from './keymap.js';
import { Look } from './look.js';
import { attachStick, lookRate, walkingKeys } from './stick.js';

export class Controls {
  #on;
  #keys = new Map();
  #others = new Map();
  #down = [];
  #enabled = false;
  #look;
  #letGoSticks;

  /**
   * `surface`: the element that takes clicks and drags; `sticks`: the drawn `{walk, look}`. `on.keys(down, {pressedAt})`
   * with the full list whenever it changes (`pressedAt`: time of the key event if a key went down, else null),
   * `on.look(yaw, pitch)` in degrees, `on.command(name)`, `on.lock(locked)`, `on.wake(event)` for a motion key while
   * not enabled, true takes it; `on.press(what)` and `on.found(name)` for gamepads.
   */
  constructor(surface, sticks, on) {
    this.#on = on;
    this.#look = new Look(surface, on);
    window.addEventListener('keydown', (event) => this.#keydown(event));
    window.addEventListener('keyup', (event) => this.#keyup(event));
    window.addEventListener('blur', () => this.releaseAll());
    document.addEventListener('visibilitychange', () => document.visibilityState === 'hidden' && this.releaseAll());
    this.#letGoSticks = [
      attachStick(sticks.walk, (x, y) => this.#hold('stick', walkingKeys(x, y))),
      attachStick(sticks.look, (x, y) => this.#look.setRate('stick', lookRate(x, y))),
    ];
    new Gamepads({
      held: (names) => this.#hold('gamepad', names),
      look: (rate) => this.#look.setRate('gamepad', rate),
      press: (what) => on.press(what),
      found: (name) => on.found(name),
    });
  }

  /** Names of the keys held now, in the order they were pressed. */
  get held() {
    return [...this.#down];
  }

  get locked() {
    return this.#look.locked;
  }

  /** Whether keys and looks go to the world. */
  get enabled() {
    return this.#enabled;
  }

  /** Whether the last press on the surface was a drag; its click is then no click. */
  get dragged() {
    return this.#look.dragged;
  }

  enable(enabled) {
    if (!enabled) this.releaseAll();
    this.#enabled = enabled;
    this.#look.enable(enabled);
  }

  /** Lets go of everything, and says so once. */
  releaseAll() {
    for (const letGo of this.#letGoSticks) letGo();
    this.#keys.clear();
    this.#others.clear();
    this.#look.letGo();
    this.#changed(null);
  }

  /** Asks for the mouse. Must be called from a gesture. */
  lock() {
    return this.#look.lock();
  }

  unlock() {
    this.#look.unlock();
  }

  /** What `source` (a stick, a gamepad) holds now, beside the keyboard. */
  #hold(source, names) {
    if (!this.#enabled || names.join() === (this.#others.get(source) ?? []).join()) return;
    const pressed = names.some((name) => !this.#down.includes(name));
    this.#others.set(source, names);
    this.#changed(pressed ? performance.now() : null);
  }

  #keydown(event) {
    if (event.key === 'Meta') this.releaseAll(); // while it is held, macOS keeps key releases to itself
    if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey || isTyping(event.target)) return;
    const { motion, command } = meaningOf(event) ?? {};
    if (motion) {
      if (!this.#enabled && !(this.#on.wake(event) && this.#enabled)) return;
      event.preventDefault(); // arrows would scroll
      if (event.repeat || this.#keys.has(event.code)) return;
      this.#keys.set(event.code, motion);
      this.#changed(event.timeStamp);
    } else if (command && !event.repeat) {
      if (command !== 'back') event.preventDefault(); // else a key that opens a line is typed into it
      this.#on.command(command);
    }
  }

  #keyup(event) {
    if (this.#keys.delete(event.code)) this.#changed(null);
  }

  #changed(pressedAt) {
    const down = [...new Set([...this.#keys.values(), ...[...this.#others.values()].flat()])];
    if (down.join() === this.#down.join()) return;
    this.#down = down;
    this.#on.keys([...down], { pressedAt });
  }
}

function isTyping(target) {
  return target instanceof HTMLTextAreaElement || (target instanceof HTMLInputElement && !['range', 'checkbox'].includes(target.type));
}
