// @ts-check
/** Buttons of the world's actions: they name the keys, light up while held, and are pressed by fingers. */

import { make } from '../lib/dom.js';
import { codeOf, labelOf } from '../input/keymap.js';

export class ActionButtons {
  #root;
  #press;
  /** @type {Map<string, HTMLElement>} */
  #buttons = new Map();
  #shown = '';

  /**
   * @param {HTMLElement} root
   * @param {(name: string, held: boolean) => void} press
   */
  constructor(root, press) {
    this.#root = root;
    this.#press = press;
  }

  /**
   * Shows the actions of a world, by group.
   * @param {import('../net/messages.d.ts').ActionInfo[]} actions
   */
  show(actions) {
    const wanted = JSON.stringify(actions);
    if (wanted === this.#shown) return;
    this.#shown = wanted;
    this.#buttons.clear();
    const groups = new Map(actions.map(({ group }) => [group, make('div')]));
    for (const [name, group] of groups) if (name) group.setAttribute('aria-label', name);
    for (const { name, title, group } of actions) groups.get(group)?.append(this.#button(name, title));
    this.#root.replaceChildren(...groups.values());
  }

  /**
   * Lights the buttons of the actions held.
   * @param {string[]} held
   */
  light(held) {
    for (const [name, button] of this.#buttons) button.classList.toggle('lit', held.includes(name));
  }

  /**
   * @param {string} name
   * @param {string} title
   */
  #button(name, title) {
    const button = make('button', { type: 'button', tabIndex: -1, title });
    button.dataset.name = name;
    const cap = make('kbd', { textContent: labelOf(codeOf(`action:${name}`)) });
    cap.dataset.action = `action:${name}`;
    button.append(cap, make('span', { textContent: title }));
    button.addEventListener('pointerdown', (event) => {
      event.preventDefault();
      button.setPointerCapture(event.pointerId);
      this.#press(name, true);
    });
    for (const end of /** @type {const} */ (['pointerup', 'pointercancel'])) button.addEventListener(end, () => this.#press(name, false));
    this.#buttons.set(name, button);
    return button;
  }
}
