/** The line in which a visitor tells the dream something, in worlds whose model takes text. */

export class Say {
  #form;
  #field;

  /** `say(text)`: it was sent; `onClose()`: the line is gone again. */
  constructor(form, { say, onClose }) {
    this.#form = form;
    this.#field = form.querySelector('input');
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      const text = this.#field.value.trim();
      this.close();
      if (text) say(text);
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
