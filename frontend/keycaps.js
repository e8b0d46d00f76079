/** The drawn keys: they light up the instant a key goes down, without asking the server. */

import { SAME_AS, labelOf } from './keymap.js';

const ROWS = [['KeyQ', 'KeyW', 'KeyE'], ['KeyA', 'KeyS', 'KeyD']];
const HINTS = { KeyQ: 'step', KeyW: 'walk', KeyE: 'step', KeyA: 'turn', KeyS: 'back', KeyD: 'turn' };

/** Draws the walking keys into `place`; with `hints` each says what it does. Returns a function that lights names. */
export function drawKeys(place, { hints = false } = {}) {
  const caps = new Map();
  for (const row of ROWS) {
    const line = document.createElement('div');
    for (const code of row) {
      const cap = document.createElement('kbd');
      cap.dataset.code = code;
      cap.append(Object.assign(document.createElement('b'), { textContent: labelOf(code) }));
      if (hints) cap.append(Object.assign(document.createElement('small'), { textContent: HINTS[code] }));
      caps.set(code.slice(3).toLowerCase(), cap);
      line.append(cap);
    }
    place.append(line);
  }
  return (held) => {
    const lit = new Set(held.map((name) => SAME_AS[name] ?? name));
    for (const [name, cap] of caps) cap.classList.toggle('lit', lit.has(name));
  };
}

/** Writes what is printed on this visitor's keyboard on every drawn key. */
export function relabel() {
  for (const cap of document.querySelectorAll('kbd[data-code]')) {
    (cap.querySelector('b') ?? cap).textContent = labelOf(cap.dataset.code);
  }
}
