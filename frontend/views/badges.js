/** Short standing remarks at the top of the picture: recording, watchers, a slow network, an end that is near. */

export class Chips {
  #root;

  constructor(root) {
    this.#root = root;
  }

  /** Shows `text` under a name, or nothing more where null. `kind`: `live` or `warn` for a coloured dot. */
  set(name, text, kind = '') {
    let chip = this.#root.querySelector(`[data-chip="${name}"]`);
    if (text === null) {
      chip?.remove();
      return;
    }
    if (!chip) {
      chip = document.createElement('li');
      chip.dataset.chip = name;
      this.#root.append(chip);
    }
    chip.className = kind;
    if (chip.textContent !== text) chip.textContent = text;
  }
}
