// @ts-check
/** The menu's form of seed and words: type them, draw a seed, start over. */

import { byId } from '../lib/dom.js';
import { LARGEST_SEED, drawSeed, parseSeed } from './scenes.js';

export class SeedForm {
  /** @type {HTMLInputElement} */
  #field;
  /** @type {HTMLInputElement} */
  #words;

  /**
   * @param {HTMLFormElement} form
   * @param {(change: {seed: number, text?: string}) => void} start starts over with a seed, and with words where there is a field
   */
  constructor(form, start) {
    this.#field = byId('seed');
    this.#words = byId('words');
    const note = byId('seed-note');
    byId('dice').addEventListener('click', () => start({ seed: drawSeed() }));
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      const seed = parseSeed(this.#field.value);
      note.textContent = seed === null ? `A seed is a whole number from 0 to ${LARGEST_SEED}.` : '';
      this.#field.toggleAttribute('aria-invalid', seed === null);
      if (seed === null) return;
      this.#field.blur();
      this.#words.blur();
      start(this.#words.hidden ? { seed } : { seed, text: this.#words.value.trim() });
    });
    for (const field of [this.#field, this.#words]) field.addEventListener('keydown', (event) => event.key === 'Escape' && field.blur());
  }

  /**
   * Shows the session's seed and words, unless they are being typed.
   * @param {number} seed
   * @param {string | null} [text]
   */
  show(seed, text) {
    if (document.activeElement !== this.#field) this.#field.value = String(seed);
    if (document.activeElement !== this.#words) this.#words.value = text ?? '';
  }
}
