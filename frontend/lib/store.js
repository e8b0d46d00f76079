// @ts-check
/** Text kept in this browser (`localStorage`) or tab (`sessionStorage`); nothing where storage is forbidden. */

/** @typedef {'localStorage' | 'sessionStorage'} StorageName */

/**
 * Returns the text kept under a name, or null.
 * @param {string} name
 * @param {StorageName} storage
 */
export function recall(name, storage = 'localStorage') {
  try {
    return window[storage].getItem(`flashdreams.${name}`);
  } catch {
    return null; // private windows may forbid storage
  }
}

/**
 * Keeps a text under a name, or removes it where null.
 * @param {string} name
 * @param {string | null} text
 * @param {StorageName} storage
 */
export function store(name, text, storage = 'localStorage') {
  try {
    if (text === null) window[storage].removeItem(`flashdreams.${name}`);
    else window[storage].setItem(`flashdreams.${name}`, text);
  } catch {
    // as above: it then lasts as long as the page
  }
}
