// @ts-check
/** The text prompt, in worlds whose model takes text. */

export class Prompt {
  /** @type {HTMLFormElement} */
  #form;
  /** @type {HTMLInputElement} */
  #field;

  /**
   * @param {HTMLFormElement} form
   * @param {{submit: (text: string) => void, onClose: () => void}} on
   */
  constructor(form, { submit, onClose }) {
    this.#form = form;
    this.#field = /** @type {HTMLInputElement} */ (form.querySelector('input'));
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      const text = this.#field.value.trim();
      this.close();
      if (text) submit(text);
      onClose();
    });
    this.#field.addEventListener('keydown', (event) => {
      if (event.key !== 'Escape') return;
      event.stopPropagation();
      this.close();
      onClose();
    });
  }

  get open() {
    return !this.#form.hidden;
  }

  show() {
    this.#form.hidden = false;
    this.#field.value = '';
    this.#field.focus();
  }

  close() {
    this.#form.hidden = true;
  }
}
