// @ts-check
/** The drawn keys: lit as soon as a key goes down, before the server answers. */

import { SAME_AS, codeOf, labelOf, wordsFor } from './keymap.js';

const ROWS = [['q', 'w', 'e'], ['a', 's', 'd']];
/** @type {Record<string, string>} */
const HINTS = { q: 'step', w: 'walk', e: 'step', a: 'turn', s: 'back', d: 'turn' };

/**
 * Draws the walking keys. Returns a function that lights the keys of some names.
 * @param {HTMLElement} place
 * @param {{hints?: boolean}} options `hints`: each key says its meaning
 * @returns {(held: string[]) => void}
 */
export function drawKeys(place, { hints = false } = {}) {
  const caps = new Map();
  for (const row of ROWS) {
    const line = document.createElement('div');
    for (const id of row) {
      const cap = document.createElement('kbd');
      cap.dataset.action = id;
      cap.append(Object.assign(document.createElement('b'), { textContent: labelOf(codeOf(id)) }));
      if (hints) cap.append(Object.assign(document.createElement('small'), { textContent: HINTS[id] }));
      caps.set(id, cap);
      line.append(cap);
    }
    place.append(line);
  }
  return (held) => {
    const lit = new Set(held.map((name) => SAME_AS[name] ?? name));
    for (const [id, cap] of caps) cap.classList.toggle('lit', lit.has(id));
  };
}

/** Writes the letter of its present key, as printed on this keyboard, on every drawn key. */
export function relabel() {
  for (const cap of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('kbd[data-action]'))) {
    const id = cap.dataset.action ?? '';
    (cap.querySelector('b') ?? cap).textContent = labelOf(codeOf(id));
    const hint = cap.querySelector('small');
    if (hint) hint.textContent = wordsFor(id).startsWith('step') ? 'step' : HINTS[id];
  }
}
