/** What this browser keeps: for good (`localStorage`) or for this tab (`sessionStorage`); nothing where it is forbidden. */

/** The text kept under a name, or null. */
export function recall(name, storage = 'localStorage') {
  try {
    return window[storage].getItem(`flashdreams.${name}`);
  } catch {
    return null; // private windows may forbid storage; then nothing is remembered
  }
}

/** Keeps a text, or forgets it where null. */
export function keep(name, text, storage = 'localStorage') {
  try {
    if (text === null) window[storage].removeItem(`flashdreams.${name}`);
    else window[storage].setItem(`flashdreams.${name}`, text);
  } catch {
    // as above: it then lasts as long as the page
  }
}
