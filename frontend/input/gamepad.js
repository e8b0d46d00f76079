// @ts-check
/**
 * Gamepads: sticks walk and look, the D-pad walks and turns, a few buttons run commands. Only the standard mapping is
 * trusted; of other pads the rest positions are learnt, because triggers there are axes that may rest at -1.
 */

import { recall, store } from '../lib/store.js';
import { padActions } from './keymap.js';
import { lookRate, walkingKeys } from './stick.js';

/** @typedef {{walk: [number, number], look: [number, number], buttons: number[]}} PadState Deflections from -1 to 1, numbers of the buttons held. */
/**
 * Handlers: `held(names)` and `look(rate)` in degrees a second on every poll, `press(command)` once for every press,
 * `actions(names)` of the world on every poll; `enabled()` returns true if they count; `found(name, standard)` when a pad
 * is connected.
 * @typedef {object} GamepadHandlers
 * @property {(names: string[]) => void} held
 * @property {(names: string[]) => void} actions
 * @property {() => boolean} enabled
 * @property {(rate: {yaw: number, pitch: number}) => void} look
 * @property {(command: string) => void} press
 * @property {(name: string, standard: boolean) => void} found
 */

/** Key held down by a button, by the button's number. @type {Readonly<Record<number, string>>} */
const HELD_KEYS = Object.freeze({ 4: 'q', 5: 'e', 12: 'w', 13: 's', 14: 'a', 15: 'd' });
/** Command run by a button, by the button's number. @type {Readonly<Record<number, string>>} */
const COMMANDS = Object.freeze({ 0: 'confirm', 1: 'back', 3: 'help', 8: 'hud', 9: 'menu', 12: 'previous', 13: 'next', 14: 'previous', 15: 'next' });
/** Without the standard mapping only the first two buttons mean the same on most pads. */
const SAFE_BUTTONS = 2;
/** A deflection beyond the dead zone that walks. */
const WALK_FROM = 0.1;
/** An axis that rests beyond this is a trigger or a hat switch, not a stick. */
const STICK_REST = 0.5;
/** Some drivers report 0 for a trigger until it first moves, and its rest of -1 from then on. */
const TRIGGER_REST = 0.99;
/** Share of a stick's way that is ignored; worn sticks rest at 0.2. */
export const DEAD_ZONE = Object.freeze({ least: 0.25, most: 0.6, usual: 0.25 });
const STORE = 'dead-zone';

let zone = bounded(Number(recall(STORE) ?? DEAD_ZONE.usual));

/** Returns the dead zone that the visitor chose, or the usual one. */
export function deadZone() {
  return zone;
}

/**
 * Sets the dead zone, remembered in this browser.
 * @param {number} share
 */
export function setDeadZone(share) {
  zone = bounded(share);
  store(STORE, zone === DEAD_ZONE.usual ? null : String(zone));
}

/** @param {number} share */
function bounded(share) {
  return Number.isFinite(share) ? Math.min(DEAD_ZONE.most, Math.max(DEAD_ZONE.least, share)) : DEAD_ZONE.usual;
}

/**
 * Returns 0 inside the dead zone, and rescales the rest so that a full deflection stays 1.
 * @param {number} value
 */
function deflection(value) {
  const beyond = Math.max(0, Math.min(1, Math.abs(value)) - zone) / (1 - zone);
  return Math.sign(value) * beyond;
}

/** Reads pads without the standard mapping: learns where axes and buttons rest. */
class RestPositions {
  /** @type {number[]} */
  #axes;
  /** @type {number[]} */
  #last;
  /** @type {boolean[]} */
  #buttons;

  /** @param {Gamepad} pad as it is when it is first seen */
  constructor({ axes, buttons }) {
    this.#axes = [...axes];
    this.#last = [...axes];
    this.#buttons = buttons.map(({ pressed }) => pressed);
  }

  /** @param {Gamepad} pad @returns {PadState} */
  read({ axes, buttons }) {
    axes.forEach((value, i) => {
      if (i > 1 && this.#last[i] === 0 && value <= -TRIGGER_REST) this.#axes[i] = value; // axes 0 and 1 may be a D-pad
      this.#last[i] = value;
    });
    const sticks = [...axes.keys()].filter((i) => Math.abs(this.#axes[i] ?? 0) <= STICK_REST);
    const moved = (/** @type {number} */ i) => axes[i] - this.#axes[i];
    const walk = sticks.includes(0) && sticks.includes(1) ? [0, 1] : [];
    const right = sticks.find((i) => i > 1 && sticks.includes(i + 1));
    return {
      walk: walk.length > 0 ? [moved(0), moved(1)] : [0, 0],
      look: right === undefined ? [0, 0] : [moved(right), moved(right + 1)],
      buttons: buttons.flatMap((button, i) => {
        if (!button.pressed) this.#buttons[i] = false;
        return button.pressed && !this.#buttons[i] && i < SAFE_BUTTONS ? [i] : [];
      }),
    };
  }
}

/** @param {Gamepad} pad @returns {PadState} */
function readStandard({ axes, buttons }) {
  return {
    walk: [axes[0] ?? 0, axes[1] ?? 0],
    look: [axes[2] ?? 0, axes[3] ?? 0],
    buttons: buttons.flatMap((button, i) => (button.pressed ? [i] : [])),
  };
}

export class Gamepads {
  /** @type {GamepadHandlers} */
  #on;
  #watching = false;
  /** @type {Set<number>} */
  #pressed = new Set();
  /** Buttons that were pressed for a command, until they are released. @type {Set<number>} */
  #spent = new Set();
  /** @type {Map<number, RestPositions>} */
  #rests = new Map();

  /** @param {GamepadHandlers} on */
  constructor(on) {
    this.#on = on;
    window.addEventListener('gamepadconnected', ({ gamepad }) => {
      this.#rests.delete(gamepad.index);
      on.found(gamepad.id, gamepad.mapping === 'standard');
      this.#watch();
    });
    if (connected().length > 0) this.#watch();
  }

  #watch() {
    if (this.#watching) return;
    this.#watching = true;
    const poll = () => {
      const pads = connected();
      this.#read(document.hasFocus() ? pads : []);
      this.#watching = pads.length > 0;
      if (this.#watching) requestAnimationFrame(poll);
    };
    requestAnimationFrame(poll);
  }

  /** @param {Gamepad} pad */
  #stateOf(pad) {
    if (pad.mapping === 'standard') return readStandard(pad);
    const rests = this.#rests.get(pad.index) ?? new RestPositions(pad);
    this.#rests.set(pad.index, rests);
    return rests.read(pad);
  }

  /** @param {Gamepad[]} pads */
  #read(pads) {
    const held = new Set();
    const rate = { yaw: 0, pitch: 0 };
    const pressed = new Set();
    for (const { walk, look, buttons } of pads.map((pad) => this.#stateOf(pad))) {
      for (const name of walkingKeys(deflection(walk[0]), deflection(walk[1]), WALK_FROM)) held.add(name);
      const { yaw, pitch } = lookRate(deflection(look[0]), deflection(look[1]), 0);
      rate.yaw += yaw;
      rate.pitch += pitch;
      for (const number of buttons) {
        pressed.add(number);
        if (HELD_KEYS[number] && !padActions().has(number)) held.add(HELD_KEYS[number]);
      }
    }
    this.#spent = new Set([...this.#spent].filter((number) => pressed.has(number)));
    if (!this.#on.enabled()) for (const number of pressed) this.#spent.add(number);
    for (const number of pressed) if (!this.#pressed.has(number) && COMMANDS[number]) this.#on.press(COMMANDS[number]);
    this.#pressed = pressed;
    this.#on.held([...held]);
    this.#on.actions([...pressed].flatMap((number) => (this.#spent.has(number) ? [] : padActions().get(number) ?? [])));
    this.#on.look(rate);
  }
}

/** @returns {Gamepad[]} */
function connected() {
  return [...(navigator.getGamepads?.() ?? [])].flatMap((pad) => (pad?.connected ? [pad] : []));
}
