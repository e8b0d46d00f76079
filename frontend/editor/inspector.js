// @ts-check
/** The inspector: the list of keyframes, the fields of the selected one, and the pace; errors stand beside their field. */

import { clockTime } from '../lib/format.js';
import { wrapped } from './geometry.js';

/** @typedef {import('./camera_path.js').Keyframe} Keyframe */
/** @typedef {{label: string, unit: string, least: number, most: number}} Field */

/** Fields of a keyframe. @type {Readonly<Record<string, Field>>} */
const FIELDS = Object.freeze({
  x: { label: 'x', unit: 'm', least: -1e6, most: 1e6 },
  z: { label: 'z', unit: 'm', least: -1e6, most: 1e6 },
  height: { label: 'Height', unit: 'm', least: -1e6, most: 1e6 },
  yaw: { label: 'Yaw', unit: '°', least: -3600, most: 3600 },
  pitch: { label: 'Pitch', unit: '°', least: -89, most: 89 },
  at: { label: 'Time', unit: 's', least: 0, most: 3600 },
});
/** Fields of the pace. @type {Readonly<Record<string, Field>>} */
const PACES = Object.freeze({
  speed: { label: 'Speed', unit: 'm/s', least: 0.05, most: 50 },
  seconds: { label: 'Length', unit: 's', least: 0.1, most: 800 },
  turn: { label: 'Turns', unit: '°/s', least: 1, most: 720 },
});

export class Inspector {
  /** @type {HTMLElement} */
  #root;
  /** @type {import('./camera_path.js').CameraPath} */
  #path;
  /** @type {import('./map_controls.js').EditorHandlers} */
  #on;
  /** @type {import('./requests.js').Plan | null} */
  #plan = null;
  /** @type {number | null} */
  #dragged = null;
  /** @type {number | null} */
  #shown = null;

  /**
   * @param {HTMLElement} root
   * @param {import('./camera_path.js').CameraPath} path
   * @param {import('./map_controls.js').EditorHandlers} on
   */
  constructor(root, path, on) {
    this.#root = root;
    this.#path = path;
    this.#on = on;
    for (const name of Object.keys(FIELDS)) this.#wire(name, FIELDS[name], (value) => this.#setKey(name, value));
    for (const name of Object.keys(PACES)) this.#wire(name, PACES[name], (value) => {
      path.set({ [name]: value });
      return '';
    });
    this.#part('pace').addEventListener('change', () => this.#setPace());
    this.#part('easing').addEventListener('change', () => path.set({ easing: this.#part('easing').value }));
    this.#part('closed').addEventListener('change', () => path.set({ closed: this.#part('closed').checked }));
    this.#wireList();
  }

  /**
   * Shows the path.
   * @param {import('./requests.js').Plan | null} plan
   */
  draw(plan) {
    this.#plan = plan;
    const { now } = this.#path;
    const key = this.#path.key(this.#on.selected());
    this.#drawList();
    this.#part('fields').hidden = !key;
    if (this.#shown !== (key?.id ?? null)) for (const name of Object.keys(FIELDS)) this.#forget(name);
    this.#shown = key?.id ?? null;
    if (key) this.#drawKey(key);
    for (const name of Object.keys(PACES)) {
      this.#line(name).hidden = name === 'turn' ? now.pace !== 'speed' : now.pace !== name;
      this.#write(name, now[/** @type {'speed' | 'seconds' | 'turn'} */ (name)]);
    }
    this.#part('pace').value = now.pace;
    this.#part('easing').value = now.easing;
    this.#part('closed').checked = now.closed;
  }

  /**
   * @param {string} name
   * @returns {any}
   */
  #part(name) {
    return this.#root.querySelector(`#editor-${name}`);
  }

  /** @param {string} name */
  #line(name) {
    return this.#part(name).closest('label');
  }

  /** @param {Keyframe} key */
  #drawKey(key) {
    const index = this.#path.keys.indexOf(key);
    this.#part('which').textContent = `Key pose ${index + 1}`;
    this.#part('earlier').disabled = index === 0;
    this.#part('later').disabled = index === this.#path.keys.length - 1;
    this.#line('height').hidden = !this.#plan?.free_height;
    this.#line('at').hidden = this.#path.now.pace !== 'times';
    for (const name of /** @type {const} */ (['x', 'z', 'yaw', 'pitch'])) this.#write(name, key[name]);
    this.#write('height', -(key.y ?? this.#plan?.start.y ?? 0)); // the world's y points down
    this.#write('at', key.at ?? 0);
  }

  /**
   * Shows a value, unless another one is being typed or stands there with an error.
   * @param {string} name
   * @param {number} value
   */
  #write(name, value) {
    const field = this.#part(name);
    if (!field.hasAttribute('data-typing')) field.value = String(Math.round(1000 * value) / 1000);
  }

  /**
   * Drops the text that was typed.
   * @param {string} name
   */
  #forget(name) {
    this.#part(name).removeAttribute('data-typing');
    this.#wrong(name, '');
  }

  /**
   * @param {string} name
   * @param {Field} field
   * @param {(value: number) => string} set returns an error, or nothing
   */
  #wire(name, { label, unit, least, most }, set) {
    const field = this.#part(name);
    const accept = () => {
      if (!field.hasAttribute('data-typing')) return; // Enter has accepted it already
      const text = field.value.trim().replace(',', '.').replace('−', '-');
      const value = Number(text);
      const pitch = name === 'pitch' ? this.#plan?.pitch_limit ?? most : null;
      const [low, high] = pitch === null ? [least, most] : [-pitch, pitch];
      const sound = /^[-+]?(\d+\.?\d*|\.\d+)$/.test(text) && value >= low && value <= high;
      const wrong = sound ? set(value) : `${label} takes a number from ${low} to ${high} ${unit}, not “${field.value.slice(0, 20)}”.`;
      if (wrong) this.#wrong(name, wrong);
      else this.#forget(name);
    };
    field.addEventListener('input', () => field.setAttribute('data-typing', ''));
    field.addEventListener('change', accept);
    field.addEventListener('keydown', (/** @type {KeyboardEvent} */ event) => {
      if (event.key === 'Enter') {
        event.preventDefault();
        accept();
      } else if (event.key === 'Escape') {
        event.stopPropagation();
        this.#forget(name);
        field.blur();
        this.draw(this.#plan);
      }
    });
    field.addEventListener('blur', () => field.hasAttribute('aria-invalid') || field.removeAttribute('data-typing'));
  }

  /**
   * Shows an error beside a field, or none.
   * @param {string} name
   * @param {string} sentence
   */
  #wrong(name, sentence) {
    const field = this.#part(name);
    if (sentence) field.setAttribute('aria-invalid', 'true');
    else if (!field.hasAttribute('aria-invalid')) return;
    else field.removeAttribute('aria-invalid');
    this.#part(field.closest('form') === this.#part('fields') ? 'key-wrong' : 'pace-wrong').textContent = sentence;
  }

  /**
   * Changes a field of the selected keyframe. Returns an error, or nothing.
   * @param {string} name
   * @param {number} value
   */
  #setKey(name, value) {
    const id = this.#on.selected();
    if (id === null) return '';
    if (name === 'at') return this.#setTime(id, value);
    if (name === 'height') this.#path.move(id, { y: -value });
    else if (name === 'yaw') this.#path.move(id, { yaw: wrapped(value), along: false });
    else this.#path.move(id, { [name]: value });
    return '';
  }

  /**
   * @param {number} id
   * @param {number} at
   */
  #setTime(id, at) {
    const index = this.#path.keys.findIndex((key) => key.id === id);
    const [before, after] = [this.#path.keys[index - 1]?.at ?? null, this.#path.keys[index + 1]?.at ?? null];
    const late = before !== null && at <= before;
    if (!late && !(after !== null && at >= after)) {
      this.#path.move(id, { at });
      return '';
    }
    const range = after === null ? `later than ${before}` : before === null ? `earlier than ${after}` : `between ${before} and ${after}`;
    return `Time takes seconds ${range}, where its neighbours are, not “${at}”.`;
  }

  #setPace() {
    const pace = this.#part('pace').value;
    if (pace !== 'times') this.#path.set({ pace });
    else this.#path.set({ pace, keys: this.#path.keys.map((key, i) => ({ ...key, at: key.at ?? i })) });
  }

  #drawList() {
    const list = this.#part('keys');
    const { keys } = this.#path;
    while (list.children.length > keys.length) list.lastChild.remove();
    while (list.children.length < keys.length) list.append(this.#row());
    keys.forEach((key, i) => {
      const row = list.children[i];
      const chosen = key.id === this.#on.selected();
      const button = row.firstChild;
      if (chosen && button.getAttribute('aria-pressed') !== 'true') row.scrollIntoView({ block: 'nearest' });
      row.dataset.key = String(key.id);
      button.setAttribute('aria-pressed', String(chosen));
      const [number, place, look, at] = button.children;
      number.textContent = String(i + 1);
      place.textContent = `${metres(key.x)}, ${metres(key.z)}`;
      look.textContent = `${Math.round(key.yaw)}°${Math.round(key.pitch) ? ` / ${Math.round(key.pitch)}°` : ''}`;
      at.textContent = key.at === null ? '' : clockTime(key.at);
    });
  }

  #row() {
    const row = document.createElement('li');
    const button = Object.assign(document.createElement('button'), { type: 'button' });
    for (const name of ['b', 'span', 'span', 'span']) button.append(document.createElement(name));
    button.title = 'Drag to another place in the order, or Alt and an arrow key';
    row.draggable = true;
    row.append(button);
    return row;
  }

  #wireList() {
    const list = this.#part('keys');
    const idOf = (/** @type {EventTarget | null} */ target) => Number(/** @type {Element} */ (target).closest('li')?.dataset.key ?? NaN);
    list.addEventListener('click', (/** @type {MouseEvent} */ event) => Number.isNaN(idOf(event.target)) || this.#on.select(idOf(event.target)));
    list.addEventListener('keydown', (/** @type {KeyboardEvent} */ event) => {
      const step = /** @type {Record<string, number>} */ ({ ArrowUp: -1, ArrowDown: 1 })[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      if (event.altKey) this.shift(step);
      else this.#on.selectNext(step);
      list.querySelector('[aria-pressed="true"]')?.focus();
    });
    list.addEventListener('dragstart', (/** @type {DragEvent} */ event) => {
      this.#dragged = idOf(event.target);
      if (event.dataTransfer) event.dataTransfer.effectAllowed = 'move';
    });
    list.addEventListener('dragover', (/** @type {DragEvent} */ event) => this.#dragged !== null && event.preventDefault());
    list.addEventListener('drop', (/** @type {DragEvent} */ event) => {
      event.preventDefault();
      const index = this.#path.keys.findIndex(({ id }) => id === idOf(event.target));
      if (this.#dragged !== null && index >= 0) this.#path.reorder(this.#dragged, index);
      this.#dragged = null;
    });
    list.addEventListener('dragend', () => { this.#dragged = null; });
  }

  /**
   * Moves the selected keyframe earlier (-1) or later (1) in the order.
   * @param {number} step
   */
  shift(step) {
    const id = this.#on.selected();
    const index = this.#path.keys.findIndex((key) => key.id === id) + step;
    if (id !== null && index >= 0 && index < this.#path.keys.length && this.#path.key(id)) this.#path.reorder(id, index);
  }
}

/**
 * Returns a length to the decimetre.
 * @param {number} value
 */
function metres(value) {
  return (Math.round(10 * value) / 10 || 0).toFixed(1);
}
