/**
 * Which physical key means what. Keys are named by their place (`event.code`), so a French or a Dvorak keyboard
 * walks with the same fingers; the letters drawn on screen are the ones printed on the visitor's own keyboard.
 */

/** Keys that move the camera: place on the keyboard -> name on the wire. */
export const MOTION = Object.freeze({
  KeyW: 'w', KeyA: 'a', KeyS: 's', KeyD: 'd', KeyQ: 'q', KeyE: 'e',
  KeyI: 'i', KeyJ: 'j', KeyK: 'k', KeyL: 'l',
  ArrowUp: 'arrowup', ArrowLeft: 'arrowleft', ArrowDown: 'arrowdown', ArrowRight: 'arrowright',
});

/** Keys that command the page: place on the keyboard -> command. Digits choose a scene. */
export const COMMANDS = Object.freeze({
  Escape: 'back', KeyP: 'pause', KeyR: 'reset', KeyN: 'dice', KeyH: 'hud', KeyF: 'fullscreen', KeyC: 'menu', F1: 'help',
});

/** Arrows light up the letter that does the same. */
export const SAME_AS = Object.freeze({ arrowup: 'w', arrowleft: 'a', arrowdown: 's', arrowright: 'd', j: 'a', l: 'd' });

/** What the help shows, in reading order: [keys, meaning]. A key is a code, or a word drawn as it is. */
export const HELP = Object.freeze([
  [['KeyW', 'KeyS'], 'walk forward and back'],
  [['KeyA', 'KeyD'], 'turn left and right'],
  [['KeyQ', 'KeyE'], 'step aside'],
  [['KeyI', 'KeyK'], 'look up and down'],
  [['↑', '←', '↓', '→'], 'the same as W A S D'],
  [['mouse'], 'look around: click the picture, or drag it'],
  [['1', '2', '3', '…'], 'dream on in another scene'],
  [['KeyR'], 'start over, same seed'],
  [['KeyN'], 'start over, new seed'],
  [['KeyP', 'Esc'], 'pause and menu, and back'],
  [['KeyH'], 'show or hide the figures'],
  [['KeyF'], 'full screen'],
  [['?'], 'this list'],
]);

/** What the help shows first where fingers play. */
export const TOUCH_HELP = Object.freeze([
  [['stick'], 'walk and turn'],
  [['drag'], 'look around: anywhere on the picture'],
]);

/** The command of a key event, or null. Digits give `scene:<index>`. */
export function commandOf(event) {
  if (event.key === '?') return 'help';
  const digit = /^(?:Digit|Numpad)([1-9])$/.exec(event.code);
  if (digit) return `scene:${Number(digit[1]) - 1}`;
  return COMMANDS[event.code] ?? null;
}

let printed = null;

/** Learns what is printed on this keyboard, where the browser tells; resolves when known. */
export async function learnLayout() {
  try {
    printed = await navigator.keyboard.getLayoutMap();
  } catch {
    printed = null; // Firefox, Safari, or plain http: the codes' own letters are right for most
  }
}

/** The letter to draw for a code, `KeyW` -> `W` (or `Z` on a French keyboard); other words are drawn as they are. */
export function labelOf(code) {
  if (!code.startsWith('Key')) return code;
  return (printed?.get(code) ?? code.slice(3)).toUpperCase();
}
