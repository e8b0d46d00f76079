// @ts-check
/**
 * Key bindings: the actions, their default keys, and the keys that the visitor chose. Keys are named by their place
 * (`event.code`), so that other layouts walk with the same fingers; labels show the letter printed on this keyboard.
 */

import { recall, store } from '../lib/store.js';

/**
 * Actions that can be bound to a key. `motion` is sent to the server under the action's id; `needs`: the control that the
 * world must take.
 * @typedef {{id: string, code: string, label: string, motion?: boolean, needs?: string, action?: string, group?: string}} Binding
 * @type {readonly Binding[]}
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
  { id: 'events', code: 'KeyO', label: 'edit the events of the keys 1 to =', needs: 'text' },
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
/** Keys of the events, in worlds that take text, while playing. */
export const QUICK_KEYS = Object.freeze(['Digit1', 'Digit2', 'Digit3', 'Digit4', 'Digit5', 'Digit6', 'Digit7', 'Digit8', 'Digit9', 'Digit0', 'Minus', 'Equal']);
/** Keys of a model that a page must not take: browsers close tabs with Ctrl and a letter. @type {Readonly<Record<string, string>>} */
const SAFE_KEYS = Object.freeze({ ControlLeft: 'KeyZ', ControlRight: 'KeyZ', AltLeft: 'KeyO', Tab: 'KeyO' });
/** Labels in worlds without a camera, where A and D step aside. @type {Readonly<Record<string, string>>} */
const STEP_LABELS = Object.freeze({ a: 'step to the left', d: 'step to the right' });
const WITHOUT_CAMERA = Object.freeze(['q', 'e', 'i', 'k']);
/** Gamepad buttons for a world's actions, the first for the first action that no stick reaches. */
const PAD_BUTTONS = Object.freeze([0, 2, 7, 6, 11, 10]);
const SHOULDERS = Object.freeze([5, 4]);
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
/** Actions that the world declares. @type {readonly Binding[]} */
let declared = [];
let steps = false;
let quick = false;
/** @type {ReadonlyMap<number, string>} */
let pad = new Map();

/**
 * Takes the actions and controls of a world: its actions come before the page's own of the same key.
 * @param {import('../net/messages.d.ts').ReadyMessage} info
 */
export function declare({ actions, camera, controls }) {
  declared = (actions ?? []).map(({ name, title, key, group }) => ({ id: `action:${name}`, code: SAFE_KEYS[key] ?? key, label: title, action: name, group, needs: 'actions' }));
  steps = controls.includes('keys') && camera === false;
  quick = controls.includes('text');
  const byStick = steps ? ['w', 's', 'a', 'd'] : ['w', 's', 'a', 'd', 'q', 'e'];
  const others = declared.filter(({ code }) => !byStick.some((key) => code === `Key${key.toUpperCase()}`));
  const buttons = steps ? [...PAD_BUTTONS, ...SHOULDERS] : PAD_BUTTONS;
  pad = new Map(others.slice(0, buttons.length).map(({ action }, i) => [buttons[i], action ?? '']));
}

/** Returns all actions that can be bound to a key, the world's own first. */
export function bindings() {
  return [...declared, ...ACTIONS];
}

/** Returns the world's action of each gamepad button that has one. */
export function padActions() {
  return pad;
}

/**
 * Returns the world's action on a key or mouse button, or null.
 * @param {string} code
 */
export function actionOf(code) {
  return declared.find(({ id }) => codeOf(id) === code)?.action ?? null;
}

/**
 * Splits what sticks hold into keys and actions: where A and D step aside, sideways means them.
 * @param {string[]} names
 * @returns {{keys: string[], actions: string[]}}
 */
export function meaningOfSticks(names) {
  const keys = [];
  const actions = [];
  for (const name of names) {
    const key = steps ? ({ q: 'a', e: 'd' })[name] ?? name : name;
    const action = declared.find(({ code }) => code === `Key${key.toUpperCase()}`)?.action;
    if (action) actions.push(action);
    else keys.push(key);
  }
  return { keys, actions };
}

/**
 * Returns true if an action means nothing in this world.
 * @param {Binding} binding
 * @param {(control: string) => boolean} has returns true if the world takes a control
 */
export function isHidden({ id, motion, needs }, has) {
  return (steps && WITHOUT_CAMERA.includes(id)) || !has(motion ? 'keys' : needs ?? '') && Boolean(motion || needs);
}

/**
 * Returns the words for an action.
 * @param {string} id
 */
export function wordsFor(id) {
  const label = bindings().find((binding) => binding.id === id)?.label ?? '';
  return steps ? STEP_LABELS[id] ?? label : label;
}
/** Letters printed on this keyboard, by code. @type {Map<string, string> | null} */
let printed = null;

/**
 * Returns the meaning of a key event: a motion or an action by its name on the wire, the number of an event, a command,
 * or null. A digit may be an event or a command.
 * @param {KeyboardEvent} event
 * @returns {{motion?: string, action?: string, quick?: number, command?: string} | null}
 */
export function meaningOf(event) {
  if (event.key === '?') return { command: 'help' };
  if (FIXED[event.code]) return { command: FIXED[event.code] };
  const digit = DIGIT.exec(event.code);
  const number = quick ? QUICK_KEYS.indexOf(event.code) : -1;
  const scene = digit ? { command: `scene:${Number(digit[1]) - 1}` } : {};
  if (number >= 0) return { quick: number, ...scene };
  if (digit) return scene;
  const named = actionOf(event.code);
  if (named) return { action: named };
  const action = ACTIONS.find(({ id }) => codeOf(id) === event.code);
  if (action) return action.motion ? { motion: action.id } : { command: action.id };
  return ALSO_MOTION[event.code] ? { motion: ALSO_MOTION[event.code] } : null;
}

/**
 * Returns the code of an action's key; empty for one of the page whose key the world's actions take.
 * @param {string} id
 * @returns {string}
 */
export function codeOf(id) {
  const own = chosen[id] ?? (bindings().find((action) => action.id === id)?.code ?? '');
  const taken = !id.startsWith('action:') && declared.some((action) => codeOf(action.id) === own);
  return taken ? '' : own;
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
  const other = bindings().find((action) => action.id !== id && codeOf(action.id) === code);
  const before = codeOf(id);
  chosen = { ...chosen, [id]: code, ...(other ? { [other.id]: before } : {}) };
  for (const action of bindings()) if (chosen[action.id] === action.code) delete chosen[action.id];
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
const NAMES = Object.freeze({
  '': '–', Mouse0: 'left button', Mouse1: 'middle button', Mouse2: 'right button', Space: 'Space', ShiftLeft: 'Shift', ShiftRight: 'Shift', Backspace: '⌫', Delete: 'Del', Insert: 'Ins',
});
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
  return (printed?.get(code) ?? MARKS[code] ?? code.replace(/^(?:Key|Numpad|Digit)/, '')).toUpperCase();
}

function read() {
  try {
    const kept = JSON.parse(recall(STORE) ?? '{}');
    const ids = [...ACTIONS.map(({ id }) => id), ...Object.keys(kept).filter((id) => id.startsWith('action:'))];
    const known = ids.filter((id) => typeof kept[id] === 'string' && mayChoose(kept[id]));
    return Object.fromEntries(known.map((id) => [id, kept[id]]));
  } catch {
    return {}; // not written by this page
  }
}

function write() {
  store(STORE, hasChosen() ? JSON.stringify(chosen) : null);
}
