// @ts-check
/** The menu's seed form: type one, draw one, start over. */

import { byId } from '../lib/dom.js';
import { LARGEST_SEED, drawSeed, parseSeed } from './scenes.js';

export class SeedForm {
  /** @type {HTMLInputElement} */
  #field;

  /**
   * @param {HTMLFormElement} form
   * @param {(seed: number) => void} start starts over with a seed
   */
  constructor(form, start) {
    this.#field = byId('seed');
    const note = byId('seed-note');
    byId('dice').addEventListener('click', () => start(drawSeed()));
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      const seed = parseSeed(this.#field.value);
      note.textContent = seed === null ? `A seed is a whole number from 0 to ${LARGEST_SEED}.` : '';
      this.#field.toggleAttribute('aria-invalid', seed === null);
      if (seed === null) return;
      this.#field.blur();
      start(seed);
    });
    this.#field.addEventListener('keydown', (event) => event.key === 'Escape' && this.#field.blur());
  }

  /**
   * Shows the session's seed, unless one is being typed.
   * @param {number} seed
   */
  show(seed) {
    if (document.activeElement !== this.#field) this.#field.value = String(seed);
  }
}
