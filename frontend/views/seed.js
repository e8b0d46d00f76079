/** The line of the menu with the seed: type one, draw one, start over. */

import { drawSeed, parseSeed } from './scenes.js';

export class SeedForm {
  #field;

  /** `start(seed)`: begin anew with it. */
  constructor(form, start) {
    this.#field = form.querySelector('#seed');
    const note = form.querySelector('#seed-note');
    form.querySelector('#dice').addEventListener('click', () => start(drawSeed()));
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      const seed = parseSeed(this.#field.value);
      note.textContent = seed === null ? 'A seed is a whole number from 0 to 4294967295.' : '';
      this.#field.toggleAttribute('aria-invalid', seed === null);
      if (seed === null) return;
      this.#field.blur();
      start(seed);
    });
    this.#field.addEventListener('keydown', (event) => event.key === 'Escape' && this.#field.blur());
  }

  /** Shows the seed of the dream, unless one is being typed. */
  show(seed) {
    if (document.activeElement !== this.#field) this.#field.value = seed;
  }
}
