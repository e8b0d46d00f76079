// @ts-check
/** The command bar: shown while the mouse moves, hidden after a while; its buttons name their keys. */

import { bindings, codeOf, labelOf } from '../input/keymap.js';

const IDLE_MS = 2600;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let idleTimer;

/**
 * Shows the bar for a while, or hides it at once.
 * @param {boolean} awake
 */
export function wakeBar(awake) {
  clearTimeout(idleTimer);
  document.body.classList.toggle('resting', !awake);
  if (awake) idleTimer = setTimeout(() => wakeBar(false), IDLE_MS);
}

/** Writes the present keys into the titles of the buttons. */
export function nameKeys() {
  for (const button of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('[data-title]'))) {
    const { title = '' } = button.dataset;
    const command = button.dataset.command ?? button.dataset.action ?? '';
    const action = bindings().find(({ id }) => id === command);
    button.title = action ? `${title} (${labelOf(codeOf(command))})` : command === 'help' ? `${title} (?)` : title;
  }
}
