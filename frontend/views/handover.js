// @ts-check
/** Buttons that give the controls to a watcher and take them back; the watcher that has them may give them back. */

import { make } from '../lib/dom.js';

/** @typedef {import('../net/messages.d.ts').ServerMessages} ServerMessages */

export class Handover {
  #root;
  #give;
  /** @type {ServerMessages['audience']['watchers']} */
  #watchers = [];
  /** @type {ServerMessages['controls']['holder']} */
  #holder = 'player';
  #spectator = false;

  /**
   * @param {HTMLElement} root
   * @param {(watcher: number | null) => void} give null: back to the player
   */
  constructor(root, give) {
    this.#root = root;
    this.#give = give;
  }

  /**
   * Follows the messages `ready`, `audience` and `controls`.
   * @param {{type: string}} message
   */
  show(message) {
    if (message.type === 'ready') {
      this.#spectator = /** @type {ServerMessages['ready']} */ (message).spectator;
      this.#holder = this.#spectator ? 'player' : 'you';
      this.#watchers = [];
    } else if (message.type === 'audience') {
      this.#watchers = /** @type {ServerMessages['audience']} */ (message).watchers ?? [];
    } else if (message.type === 'controls') {
      this.#holder = /** @type {ServerMessages['controls']} */ (message).holder;
    } else {
      return;
    }
    this.#draw();
  }

  #draw() {
    const held = this.#holder === 'you';
    if (this.#spectator) this.#root.replaceChildren(...(held ? [this.#button('Give the controls back', null)] : []));
    else if (!held) this.#root.replaceChildren(this.#button('Take the controls back', null));
    else this.#root.replaceChildren(...this.#watchers.map(({ number }) => this.#button(`Give the controls to watcher ${number}`, number)));
  }

  /**
   * @param {string} text
   * @param {number | null} watcher
   */
  #button(text, watcher) {
    const button = make('button', { type: 'button', textContent: text });
    button.addEventListener('click', () => this.#give(watcher));
    return button;
  }
}
