/**
 * What can be done with keys, and which key does it unless the visitor chose another. Keys are named by their place
 * (`event.code`), so a French or a Dvorak keyboard walks with the same fingers; the letters drawn on screen are the
 * ones printed on the visitor's own keyboard.
 */

import { keep, recall } from '../lib/store.js';

/** Everything that a key of one's own choice can do, and what the world must take for it. Motion is told to the server under the action's name. */
export const ACTIONS = Object.freeze([
  { id: 'w', code: 'KeyW', motion: true, label: 'walk forward' },
  { id: 's', code: 'KeyS', motion: true, label: 'walk back' },
  { id: 'a', code: 'KeyA', motion: true, label: 'turn left' },
  { id: 'd', code: 'KeyD', motion: true, label: 'turn right' },
  { id: 'q', code: 'KeyQ', motion: true, label: 'step to the left' },
  { id: 'e', code: 'KeyE', motion: true, label: 'step to the right' },
  { id: 'i', code: 'KeyI', motion: true, label: 'look up' },
  { id: 'k', code: 'KeyK', motion: true, label: 'look down' },
  { id: 'film', code: 'KeyB', label: 'go back in the dream' },
  { id: 'steer', code: 'KeyM', label: 'plan a camera path', needs: 'path' },
  { id: 'pose', code: 'KeyG', label: 'camera path: key pose here', needs: 'path' },
  { id: 'preview', code: 'KeyU', label: 'camera path: preview', needs: 'path' },
  { id: 'take', code: 'KeyY', label: 'camera path: dream it', needs: 'path' },
  { id: 'record', code: 'KeyV', label: 'record, and save it' },
  { id: 'clip', code: 'KeyC', label: 'save the last 30 seconds' },
  { id: 'still', code: 'KeyX', label: 'save a picture' },
  { id: 'say', code: 'KeyT', label: 'tell the dream something', needs: 'text' },
  { id: 'reset', code: 'KeyR', label: 'start over, same seed' },
  { id: 'dice', code: 'KeyN', label: 'start over, new seed' },
  { id: 'menu', code: 'KeyP', label: 'pause and menu' },
  { id: 'hud', code: 'KeyH', label: 'figures: few, all, none' },
  { id: 'fullscreen', code: 'KeyF', label: 'full screen' },
]);

/** Keys that also move the camera, whatever was chosen: place on the keyboard -> name on the wire. */
const ALSO_MOTION = Object.freeze({
  ArrowUp: 'arrowup', ArrowLeft: 'arrowleft', ArrowDown: 'arrowdown', ArrowRight: 'arrowright', KeyJ: 'j', KeyL: 'l',
});
/** Keys whose meaning is fixed, so that there is always a way back. Digits choose a scene. */
const FIXED = Object.freeze({ Escape: 'back', F1: 'help' });
const DIGIT = /^(?:Digit|Numpad)([1-9])$/;
const NOT_TO_CHOOSE = /^(?:Escape|Tab|Enter|NumpadEnter|CapsLock|ContextMenu|Slash|Arrow\w+|F\d+|(?:Digit|Numpad)\d|(?:Control|Alt|Meta|OS)\w*|)$/;
const STORE = 'keys';

/** Arrows light up the letter that does the same. */
export const SAME_AS = Object.freeze({ arrowup: 'w', arrowleft: 'a', arrowdown: 's', arrowright: 'd', j: 'a', l: 'd' });

/** What is fixed, for the help: [keys, meaning]. A key is a word drawn as it is. */
export const FIXED_HELP = Object.freeze([
  [['↑', '←', '↓', '→'], 'walk and turn as well'],
  [['mouse'], 'look around: click the picture, or drag it'],
  [['1', '2', '3', '…'], 'dream on in another scene'],
  [['Esc'], 'back, from everywhere'],
  [['?'], 'this list'],
]);

/** What the help shows first where fingers play, and with a gamepad. */
export const TOUCH_HELP = Object.freeze([
  [['left thumb'], 'walk and step aside'],
  [['right thumb'], 'look around; or drag the picture'],
]);
export const GAMEPAD_HELP = Object.freeze([
  [['left stick'], 'walk and step aside; the cross walks and turns'],
  [['right stick'], 'look around'],
  [['A', 'B', 'Start'], 'choose, back, menu'],
]);

let chosen = read();
let printed = null;

/** What a key event does: `{motion}` with a name of the wire, `{command}`, or null. */
export function meaningOf(event) {
  if (event.key === '?') return { command: 'help' };
  if (FIXED[event.code]) return { command: FIXED[event.code] };
  const digit = DIGIT.exec(event.code);
  if (digit) return { command: `scene:${Number(digit[1]) - 1}` };
  const action = ACTIONS.find(({ id }) => codeOf(id) === event.code);
  if (action) return action.motion ? { motion: action.id } : { command: action.id };
  return ALSO_MOTION[event.code] ? { motion: ALSO_MOTION[event.code] } : null;
}

/** The key of an action. */
export function codeOf(id) {
  return chosen[id] ?? ACTIONS.find((action) => action.id === id).code;
}

/** Whether the visitor chose any key. */
export function hasChosen() {
  return Object.keys(chosen).length > 0;
}

/** Whether a key may be chosen for an action: others keep their meaning, so that Esc and the menu always work. */
export function mayChoose(code) {
  return !NOT_TO_CHOOSE.test(code);
}

/** Gives `code` to an action; an action that had it gets the other's key in exchange. Kept in this browser. */
export function choose(id, code) {
  const other = ACTIONS.find((action) => action.id !== id && codeOf(action.id) === code);
  const before = codeOf(id);
  chosen = { ...chosen, [id]: code, ...(other ? { [other.id]: before } : {}) };
  for (const action of ACTIONS) if (chosen[action.id] === action.code) delete chosen[action.id];
  write();
}

/** All keys as they were at first. */
export function forgetChosen() {
  chosen = {};
  write();
}

/** Learns what is printed on this keyboard, where the browser tells; resolves when known. */
export async function learnLayout() {
  try {
    printed = await navigator.keyboard.getLayoutMap();
  } catch {
    printed = null; // Firefox, Safari, or plain http: the codes' own letters are right for most
  }
}

const NAMES = Object.freeze({ Space: 'Space', ShiftLeft: 'Shift', ShiftRight: 'Shift', Backspace: '⌫', Delete: 'Del', Insert: 'Ins' });
const MARKS = Object.freeze({
  Comma: ',', Period: '.', Semicolon: ';', Quote: "'", BracketLeft: '[', BracketRight: ']', Minus: '-', Equal: '=', Backquote: '`', Backslash: '\\',
});

/** The letter to draw for a code, `KeyW` -> `W` (or `Z` on a French keyboard). */
export function labelOf(code) {
  if (NAMES[code]) return NAMES[code];
  return (printed?.get(code) ?? MARKS[code] ?? code.replace(/^(?:Key|Numpad)/, '')).toUpperCase();
}

function read() {
  try {
    const kept = JSON.parse(recall(STORE) ?? '{}');
    const known = ACTIONS.filter(({ id }) => typeof kept[id] === 'string' && mayChoose(kept[id]));
    return Object.fromEntries(known.map(({ id }) => [id, kept[id]]));
  } catch {
    return {}; // not written by this page
  }
}

function write() {
  keep(STORE, hasChosen() ? JSON.stringify(chosen) : null);
}
