/** The drawn keys: they light up the instant a key goes down, without asking the server. */

import { SAME_AS, codeOf, labelOf } from './keymap.js';

const ROWS = [['q', 'w', 'e'], ['a', 's', 'd']];
const HINTS = { q: 'step', w: 'walk', e: 'step', a: 'turn', s: 'back', d: 'turn' };

/** Draws the walking keys into `place`; with `hints` each says what it does. Returns a function that lights names. */
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

/** Writes the present key of its action, as this visitor's keyboard prints it, on every drawn key. */
export function relabel() {
  for (const cap of document.querySelectorAll('kbd[data-action]')) {
    (cap.querySelector('b') ?? cap).textContent = labelOf(codeOf(cap.dataset.action));
  }
}
