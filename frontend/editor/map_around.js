// @ts-check
/** Keeps the map of a world without bounds up to date while it is shown: asks for what is there by now every few seconds. */

import { mapAround } from './requests.js';

const EVERY_MS = 3000;

export class MapAround {
  #plan;
  #token;
  #changed;
  #busy = false;

  /**
   * @param {() => import('./requests.js').Plan | null} plan the plan that is shown, or null
   * @param {() => string} token of the session
   * @param {() => void} changed called when its map is another one
   */
  constructor(plan, token, changed) {
    this.#plan = plan;
    this.#token = token;
    this.#changed = changed;
    setInterval(() => this.#ask(), EVERY_MS);
  }

  async #ask() {
    const plan = this.#plan();
    const token = this.#token();
    if (!plan?.map?.aerial || !token || document.hidden || this.#busy) return; // other maps stay as they are
    this.#busy = true;
    try {
      const map = await mapAround(token);
      if (map && plan === this.#plan() && map.aerial?.png !== plan.map.aerial?.png) {
        plan.map = map;
        this.#changed();
      }
    } catch {
      // the server is busy or away: the map stays as it was, and is asked for again
    } finally {
      this.#busy = false;
    }
  }
}
