// @ts-check
/** The player in use: the best one that this browser has, and the next one where it keeps failing. */

import { PLAYERS } from './factory.js';

/** @typedef {import('./factory.js').Player} Player */
/** @typedef {import('./factory.js').PlayerName} PlayerName */

const MOST_FAILURES = 3; // more than this many within the window below: the player is given up
const FAILURE_WINDOW_MS = 20_000;

export class PlayerFallback {
  /** @type {HTMLElement} */
  #stage;
  /** @type {import('./factory.js').PlayerHandlers} */
  #on;
  /** @type {Map<PlayerName, Player>} */
  #made = new Map();
  /** @type {PlayerName[]} */
  #usable = [];
  /** @type {Player | null} */
  #current = null;
  /** Times of recent failures. @type {number[]} */
  #failures = [];

  /**
   * @param {HTMLElement} stage
   * @param {import('./factory.js').PlayerHandlers} on called for the player in use only
   */
  constructor(stage, on) {
    this.#stage = stage;
    this.#on = on;
  }

  /** The player in use, or null. */
  get current() {
    return this.#current;
  }

  /** Name of the player in use, or null. */
  get name() {
    return this.#usable[0] ?? null;
  }

  /** Kind of the player in use, or null. */
  get kind() {
    return this.name && PLAYERS[this.name];
  }

  /** True if the player in use has failed too often lately. */
  get unreliable() {
    return this.#failures.length > MOST_FAILURES;
  }

  /**
   * Sets the players to use, the best first.
   * @param {PlayerName[]} names
   */
  use(names) {
    this.#usable = names;
    this.#failures = [];
    this.#select();
  }

  /** Switches to the next best player; false where there is none. */
  next() {
    if (this.#usable.length < 2) return false;
    this.use(this.#usable.slice(1));
    return true;
  }

  #select() {
    const { name } = this;
    if (name && !this.#made.has(name)) {
      this.#made.set(name, PLAYERS[name].make(this.#stage, {
        frame: (chunk, now) => name === this.name && this.#on.frame(chunk, now),
        failed: (message) => name === this.name && this.#failed(message),
      }));
    }
    this.#current?.close();
    this.#current = (name && this.#made.get(name)) || null;
  }

  /** @param {string} message */
  #failed(message) {
    const now = performance.now();
    this.#failures = [...this.#failures.filter((at) => now - at < FAILURE_WINDOW_MS), now];
    this.#on.failed(message);
  }
}
