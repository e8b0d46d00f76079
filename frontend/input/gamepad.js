/** A gamepad with the standard layout: sticks walk and look, the cross walks and turns, a few buttons command. */

import { lookRate, walkingKeys } from './stick.js';

/** Number of a button -> key that it holds down. */
const HOLDS = Object.freeze({ 4: 'q', 5: 'e', 12: 'w', 13: 's', 14: 'a', 15: 'd' });
/** Number of a button -> what its press asks for. */
const PRESSES = Object.freeze({ 0: 'confirm', 1: 'back', 3: 'help', 8: 'hud', 9: 'menu', 12: 'previous', 13: 'next', 14: 'previous', 15: 'next' });

export class Gamepads {
  #on;
  #watching = false;
  #pressed = new Set();

  /**
   * `on.held(names)` and `on.look({yaw, pitch})` (degrees a second) at every look at the gamepads, `on.press(what)` once
   * for every press, `on.found(name)` when one is connected.
   */
  constructor(on) {
    this.#on = on;
    window.addEventListener('gamepadconnected', (event) => {
      on.found(event.gamepad.id);
      this.#watch();
    });
    if (connected().length > 0) this.#watch();
  }

  #watch() {
    if (this.#watching) return;
    this.#watching = true;
    const look = () => {
      const pads = connected();
      this.#read(document.hasFocus() ? pads : []);
      this.#watching = pads.length > 0;
      if (this.#watching) requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  }

  #read(pads) {
    const held = new Set();
    const rate = { yaw: 0, pitch: 0 };
    const pressed = new Set();
    for (const { axes, buttons } of pads) {
      for (const name of walkingKeys(axes[0] ?? 0, axes[1] ?? 0)) held.add(name);
      const { yaw, pitch } = lookRate(axes[2] ?? 0, axes[3] ?? 0);
      rate.yaw += yaw;
      rate.pitch += pitch;
      buttons.forEach((button, number) => {
        if (!button.pressed) return;
        pressed.add(number);
        if (HOLDS[number]) held.add(HOLDS[number]);
      });
    }
    for (const number of pressed) if (!this.#pressed.has(number) && PRESSES[number]) this.#on.press(PRESSES[number]);
    this.#pressed = pressed;
    this.#on.held([...held]);
    this.#on.look(rate);
  }
}

function connected() {
  return [...(navigator.getGamepads?.() ?? [])].filter((pad) => pad?.connected);
}
