// @ts-check
/**
 * Key bindings: the actions, their default keys, and the keys that the visitor chose. Keys are named by their place
 * (`event.code`), so that other layouts walk with the same fingers; labels show the letter printed on this keyboard.
 */

import { recall, store } from '../lib/store.js';

/**
 * Actions that can be bound to a key. `motion` is sent to the server under the action's id; `needs`: the control that the
 * world must take.
 * @type {readonly {id: string, code: string, label: string, motion?: boolean, needs?: string}[]}
 */
export const ACTIONS = Object.freeze([
  { id: 'w', code: 'KeyW', motion: true, label: 'walk forward' },
  { id: 's', code: 'KeyS', motion: true, label: 'walk back' },
  { id: 'a', code: 'KeyA', motion: true, label: 'turn left' },
  { id: 'd', code: 'KeyD', motion: true, label: 'turn right' },
  { id: 'q', code: 'KeyQ', motion: true, label: 'step to the left' },
  { id: 'e', code: 'KeyE', motion: true, label: 'step to the right' },
  { id: 'i', code: 'KeyI', motion: true, label: 'look up' },
  { id: 'k', code: 'KeyK', motion: true, label: 'look down' },
  { id: 'filmstrip', code: 'KeyB', label: 'go back in the dream' },
  { id: 'editor', code: 'KeyM', label: 'plan a camera path', needs: 'path' },
  { id: 'keyframe', code: 'KeyG', label: 'camera path: key pose here', needs: 'path' },
  { id: 'preview', code: 'KeyU', label: 'camera path: preview', needs: 'path' },
  { id: 'follow', code: 'KeyY', label: 'camera path: dream it', needs: 'path' },
  { id: 'record', code: 'KeyV', label: 'record, and save it' },
  { id: 'clip', code: 'KeyC', label: 'save the last 30 seconds' },
  { id: 'still', code: 'KeyX', label: 'save a picture' },
  { id: 'prompt', code: 'KeyT', label: 'tell the dream something', needs: 'text' },
  { id: 'reset', code: 'KeyR', label: 'start over, same seed' },
  { id: 'dice', code: 'KeyN', label: 'start over, new seed' },
  { id: 'menu', code: 'KeyP', label: 'pause and menu' },
  { id: 'hud', code: 'KeyH', label: 'figures: few, all, none' },
  { id: 'fullscreen', code: 'KeyF', label: 'full screen' },
]);

/** Keys that also move the camera, whatever was chosen: code -> name on the wire. @type {Readonly<Record<string, string>>} */
const ALSO_MOTION = Object.freeze({
  ArrowUp: 'arrowup', ArrowLeft: 'arrowleft', ArrowDown: 'arrowdown', ArrowRight: 'arrowright', KeyJ: 'j', KeyL: 'l',
});
/** Keys whose meaning is fixed, so that there is always a way back. Digits choose a scene. @type {Readonly<Record<string, string>>} */
const FIXED = Object.freeze({ Escape: 'back', F1: 'help' });
const DIGIT = /^(?:Digit|Numpad)([1-9])$/;
const RESERVED = /^(?:Escape|Tab|Enter|NumpadEnter|CapsLock|ContextMenu|Slash|Arrow\w+|F\d+|(?:Digit|Numpad)\d|(?:Control|Alt|Meta|OS)\w*|)$/;
const STORE = 'keys';

/** Drawn key that lights up for another key of the same meaning. @type {Readonly<Record<string, string>>} */
export const SAME_AS = Object.freeze({ arrowup: 'w', arrowleft: 'a', arrowdown: 's', arrowright: 'd', j: 'a', l: 'd' });

/** Fixed keys, for the help: names and meaning. @type {readonly [string[], string][]} */
export const FIXED_HELP = Object.freeze([
  [['↑', '←', '↓', '→'], 'walk and turn as well'],
  [['mouse'], 'look around: click the picture, or drag it'],
  [['1', '2', '3', '…'], 'dream on in another scene'],
  [['Esc'], 'back, from everywhere'],
  [['?'], 'this list'],
]);

/** Help for touch screens and gamepads. @type {readonly [string[], string][]} */
export const TOUCH_HELP = Object.freeze([
  [['left thumb'], 'walk and step aside'],
  [['right thumb'], 'look around; or drag the picture'],
]);
/** @type {readonly [string[], string][]} */
export const GAMEPAD_HELP = Object.freeze([
  [['left stick'], 'walk and step aside; the cross walks and turns'],
  [['right stick'], 'look around'],
  [['A', 'B', 'Start'], 'choose, back, menu'],
]);

/** Chosen code of each action. @type {Record<string, string>} */
let chosen = read();
/** Letters printed on this keyboard, by code. @type {Map<string, string> | null} */
let printed = null;

/**
 * Returns the meaning of a key event: a motion's name on the wire, a command, or null.
 * @param {KeyboardEvent} event
 * @returns {{motion?: string, command?: string} | null}
 */
export function meaningOf(event) {
  if (event.key === '?') return { command: 'help' };
  if (FIXED[event.code]) return { command: FIXED[event.code] };
  const digit = DIGIT.exec(event.code);
  if (digit) return { command: `scene:${Number(digit[1]) - 1}` };
  const action = ACTIONS.find(({ id }) => codeOf(id) === event.code);
  if (action) return action.motion ? { motion: action.id } : { command: action.id };
  return ALSO_MOTION[event.code] ? { motion: ALSO_MOTION[event.code] } : null;
}

/**
 * Returns the code of an action's key.
 * @param {string} id
 */
export function codeOf(id) {
  return chosen[id] ?? (ACTIONS.find((action) => action.id === id)?.code ?? '');
}

/** Returns true if the visitor chose any key. */
export function hasChosen() {
  return Object.keys(chosen).length > 0;
}

/**
 * Returns true if a key may be bound to an action: the others keep their meaning.
 * @param {string} code
 */
export function mayChoose(code) {
  return !RESERVED.test(code);
}

/**
 * Binds a key to an action; an action that had it gets the other's key in exchange. Kept in this browser.
 * @param {string} id
 * @param {string} code
 */
export function choose(id, code) {
  const other = ACTIONS.find((action) => action.id !== id && codeOf(action.id) === code);
  const before = codeOf(id);
  chosen = { ...chosen, [id]: code, ...(other ? { [other.id]: before } : {}) };
  for (const action of ACTIONS) if (chosen[action.id] === action.code) delete chosen[action.id];
  write();
}

/** Restores the default keys. */
export function forgetChosen() {
  chosen = {};
  write();
}

/** Reads the keyboard's layout, where the browser has it. */
export async function learnLayout() {
  try {
    printed = await /** @type {any} */ (navigator).keyboard.getLayoutMap();
  } catch {
    printed = null; // Firefox, Safari, or plain http: the codes' own letters are right for most
  }
}

/** @type {Readonly<Record<string, string>>} */
const NAMES = Object.freeze({ Space: 'Space', ShiftLeft: 'Shift', ShiftRight: 'Shift', Backspace: '⌫', Delete: 'Del', Insert: 'Ins' });
/** @type {Readonly<Record<string, string>>} */
const MARKS = Object.freeze({
  Comma: ',', Period: '.', Semicolon: ';', Quote: "'", BracketLeft: '[', BracketRight: ']', Minus: '-', Equal: '=', Backquote: '`', Backslash: '\\',
});

/**
 * Returns the label of a code: `KeyW` -> `W`, or `Z` on a French keyboard.
 * @param {string} code
 */
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
  store(STORE, hasChosen() ? JSON.stringify(chosen) : null);
}
