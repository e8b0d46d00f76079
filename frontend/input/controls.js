// @ts-check
/**
 * Input: keyboard, mouse, thumb sticks and gamepads as one list of held keys, the world's actions, and turns of the view.
 * All keys and actions are released when the window is hidden or loses the focus.
 */

import { Gamepads } from './gamepad.js';
import { actionOf, meaningOf, meaningOfSticks } from './keymap.js';
import { Look } from './look.js';
import { attachStick, lookRate, walkingKeys } from './stick.js';

/**
 * `keys(down, {pressedAt})`: the full list of held keys changed, `pressedAt` is the time of a key event, null for a
 * release. `look(yaw, pitch, scroll)` in degrees and wheel notches. `action(name, held, at)`: an action of the world is
 * pressed or released. `quick(number, held)`: the key of an event. `wake(event)`: a motion key while disabled; true enables and uses it.
 * `press(command)` and `found(name, standard)`: see `Gamepads`.
 * @typedef {object} ControlHandlers
 * @property {(down: string[], key: {pressedAt: number | null}) => void} keys
 * @property {(yaw: number, pitch: number, scroll: number) => void} look
 * @property {(name: string, held: boolean, at: number) => void} [action]
 * @property {(number: number, held: boolean) => void} [quick]
 * @property {(name: string) => void} command
 * @property {(locked: boolean) => void} lock
 * @property {(event: KeyboardEvent) => boolean} wake
 * @property {(command: string) => void} press
 * @property {(name: string, standard: boolean) => void} found
 */

export class Controls {
  /** @type {ControlHandlers} */
  #on;
  /** Name of each held key, by its code. @type {Map<string, string>} */
  #keys = new Map();
  /** Names held by sticks and gamepads. @type {Map<string, string[]>} */
  #others = new Map();
  /** Actions by what holds them: codes of keys and mouse buttons, sticks, gamepads, buttons of the page. @type {Map<string, string[]>} */
  #actions = new Map();
  /** Numbers of the events whose keys are held, by code. @type {Map<string, number>} */
  #quick = new Map();
  /** @type {string[]} */
  #down = [];
  #enabled = false;
  #look;
  #releaseSticks;

  /**
   * @param {HTMLElement} surface element that takes clicks and drags
   * @param {{walk: HTMLElement, look: HTMLElement}} sticks
   * @param {ControlHandlers} on
   */
  constructor(surface, sticks, on) {
    this.#on = on;
    this.#look = new Look(surface, on);
    window.addEventListener('keydown', (event) => this.#keydown(event));
    window.addEventListener('keyup', (event) => this.#keyup(event));
    window.addEventListener('blur', () => this.releaseAll());
    document.addEventListener('visibilitychange', () => document.visibilityState === 'hidden' && this.releaseAll());
    this.#releaseSticks = [
      attachStick(sticks.walk, (x, y) => this.#hold('stick', walkingKeys(x, y))),
      attachStick(sticks.look, (x, y) => this.#look.setRate('stick', lookRate(x, y))),
    ];
    surface.addEventListener('mousedown', (event) => this.#mouse(event, true));
    window.addEventListener('mouseup', (event) => this.#mouse(event, false));
    new Gamepads({
      actions: (names) => this.setActions('gamepad', names),
      enabled: () => this.#enabled,
      held: (names) => this.#hold('gamepad', names),
      look: (rate) => this.#look.setRate('gamepad', rate),
      press: (command) => on.press(command),
      found: (name, standard) => on.found(name, standard),
    });
  }

  /** Names of the held keys, in the order they were pressed. */
  get held() {
    return [...this.#down];
  }

  /** Names of the actions held. */
  get heldActions() {
    return [...new Set([...this.#actions.values()].flat())];
  }

  get locked() {
    return this.#look.locked;
  }

  /** True if keys and turns reach the world. */
  get enabled() {
    return this.#enabled;
  }

  /** True if the last press on the surface was a drag; its click event is then ignored. */
  get dragged() {
    return this.#look.dragged;
  }

  /** @param {boolean} enabled */
  enable(enabled) {
    if (!enabled) this.releaseAll();
    this.#enabled = enabled;
    this.#look.enable(enabled);
  }

  /** Releases everything, and reports it once. */
  releaseAll() {
    for (const release of this.#releaseSticks) release();
    this.#keys.clear();
    this.#others.clear();
    for (const source of [...this.#actions.keys()]) this.setActions(source, [], performance.now(), true);
    for (const code of [...this.#quick.keys()]) this.#quickUp(code);
    this.#look.release();
    this.#changed(null);
  }

  /** Requests pointer lock. Call it from a user gesture. */
  lock() {
    return this.#look.lock();
  }

  unlock() {
    this.#look.unlock();
  }

  /**
   * Sets the actions that a source holds.
   * @param {string} source
   * @param {string[]} names
   * @param {number} at time of the event
   * @param {boolean} always also while the controls are disabled, for releases
   */
  setActions(source, names, at = performance.now(), always = false) {
    if (!this.#enabled && !always) return;
    const before = new Set(this.heldActions);
    if (names.length > 0) this.#actions.set(source, names);
    else this.#actions.delete(source);
    const after = new Set(this.heldActions);
    for (const name of before) if (!after.has(name)) this.#on.action?.(name, false, at);
    for (const name of after) if (!before.has(name)) this.#on.action?.(name, true, at);
  }

  /**
   * A mouse button: with the mouse captured all of them are the world's, else all but the left one.
   * @param {MouseEvent} event
   * @param {boolean} down
   */
  #mouse(event, down) {
    const code = `Mouse${event.button}`;
    const action = actionOf(code);
    if (!down) this.setActions(code, [], event.timeStamp, true);
    else if (action && (this.locked || event.button !== 0)) this.setActions(code, [action], event.timeStamp);
  }

  /** @param {string} code */
  #quickUp(code) {
    const number = this.#quick.get(code);
    if (this.#quick.delete(code) && number !== undefined) this.#on.quick?.(number, false);
  }

  /**
   * Sets what a stick or gamepad holds, beside the keyboard.
   * @param {string} source
   * @param {string[]} held
   */
  #hold(source, held) {
    const { keys: names, actions } = meaningOfSticks(held);
    this.setActions(`${source}-keys`, actions);
    if (!this.#enabled || names.join() === (this.#others.get(source) ?? []).join()) return;
    const pressed = names.some((name) => !this.#down.includes(name));
    this.#others.set(source, names);
    this.#changed(pressed ? performance.now() : null);
  }

  /** @param {KeyboardEvent} event */
  #keydown(event) {
    if (event.key === 'Meta') this.releaseAll(); // while it is held, macOS keeps key releases to itself
    if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey || isTyping(event.target)) return;
    const { motion, action, quick, command } = meaningOf(event) ?? {};
    if (action) {
      if (!this.#enabled && !(this.#on.wake(event) && this.#enabled)) return;
      event.preventDefault();
      if (!event.repeat) this.setActions(event.code, [action], event.timeStamp);
    } else if (quick !== undefined && this.#enabled) {
      event.preventDefault();
      if (event.repeat || this.#quick.has(event.code)) return;
      this.#quick.set(event.code, quick);
      this.#on.quick?.(quick, true);
    } else if (motion) {
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

  /** @param {KeyboardEvent} event */
  #keyup(event) {
    if (this.#actions.has(event.code)) this.setActions(event.code, [], event.timeStamp, true);
    this.#quickUp(event.code);
    if (this.#keys.delete(event.code)) this.#changed(null);
  }

  /** @param {number | null} pressedAt */
  #changed(pressedAt) {
    const down = [...new Set([...this.#keys.values(), ...[...this.#others.values()].flat()])];
    if (down.join() === this.#down.join()) return;
    this.#down = down;
    this.#on.keys([...down], { pressedAt });
  }
}

/** @param {EventTarget | null} target */
function isTyping(target) {
  return target instanceof HTMLTextAreaElement || (target instanceof HTMLInputElement && !['range', 'checkbox'].includes(target.type));
}
