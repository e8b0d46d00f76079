// @ts-check
/**
 * Events on quick keys, in worlds that take text: up to twelve prompts, edited here and kept in this browser. A short press
 * lets one act until it is pressed again or another one is; a long press lets it act while it is held.
 */

import { QUICK_KEYS, labelOf } from '../input/keymap.js';
import { make } from '../lib/dom.js';
import { recall, store } from '../lib/store.js';

/** @typedef {{name: string, title: string, text: string}} QuickEvent */
/** @typedef {import('../net/session.js').SessionInfo} SessionInfo */

const HOLD_MS = 400;
const EMPTY = Object.freeze({ name: '', title: '', text: '' });

export class QuickEvents {
  #bar;
  /** @type {HTMLDialogElement} */
  #dialog;
  #on;
  #world = '';
  /** @type {readonly QuickEvent[]} */
  #declared = [];
  /** @type {QuickEvent[]} */
  #events = [];
  /** Name of the event that acts. @type {string | null} */
  #active = null;
  /** Newest message sent: chunks before it tell of an earlier event. */
  #seq = 0;
  /** @type {{number: number, at: number} | null} */
  #held = null;

  /**
   * @param {HTMLElement} bar
   * @param {HTMLDialogElement} dialog
   * @param {{send: (name: string | null, text?: string) => number, onClose: () => void}} on
   */
  constructor(bar, dialog, on) {
    this.#bar = bar;
    this.#dialog = dialog;
    this.#on = on;
    dialog.querySelector('#events-close')?.addEventListener('click', () => dialog.close());
    dialog.querySelector('#events-defaults')?.addEventListener('click', () => this.#change([]));
    dialog.addEventListener('click', (event) => event.target === dialog && dialog.close());
    dialog.addEventListener('close', () => on.onClose());
  }

  get open() {
    return this.#dialog.open;
  }

  /** Name of the event that acts, or null. */
  get active() {
    return this.#active;
  }

  /**
   * Shows the events of a world, with what the visitor has changed.
   * @param {SessionInfo} info
   */
  show({ world, events }) {
    if (world === this.#world) return;
    this.#world = world;
    this.#declared = (events ?? []).map(({ name, title, text }) => ({ name, title, text }));
    this.#events = this.#kept();
    this.#draw();
  }

  toggle() {
    if (this.open) this.#dialog.close();
    else {
      this.#fill();
      this.#dialog.showModal();
    }
  }

  /**
   * A chunk is on screen: it tells which event acts.
   * @param {{event?: string | null, seq: number}} chunk
   */
  shown({ event, seq }) {
    if (seq < this.#seq || this.#held) return;
    this.#light(event ?? null);
  }

  /**
   * The key of an event went down or up.
   * @param {number} number
   * @param {boolean} held
   */
  press(number, held) {
    if (!held) {
      const long = this.#held?.number === number && performance.now() - this.#held.at >= HOLD_MS;
      this.#held = null;
      if (long) this.#send(null);
      return;
    }
    const event = this.#events[number];
    if (!event?.text) return;
    if (event.name === this.#active) {
      this.#send(null);
      return;
    }
    this.#held = { number, at: performance.now() };
    this.#send(event);
  }

  /** @param {QuickEvent | null} event */
  #send(event) {
    const own = event && this.#declared.some(({ name, text }) => name === event.name && text === event.text);
    this.#seq = event ? this.#on.send(event.name, own ? undefined : event.text) : this.#on.send(null);
    this.#light(event?.name ?? null);
  }

  /** @param {string | null} name */
  #light(name) {
    this.#active = name;
    for (const button of this.#bar.querySelectorAll('button')) button.setAttribute('aria-pressed', String(button.dataset.name === name));
  }

  #draw() {
    const buttons = this.#events.flatMap((event, number) => (event.text ? [this.#button(event, number)] : []));
    this.#bar.replaceChildren(...buttons);
    this.#light(this.#active);
  }

  /**
   * @param {QuickEvent} event
   * @param {number} number
   */
  #button({ name, title }, number) {
    const button = make('button', { type: 'button', tabIndex: -1, title });
    button.dataset.name = name;
    button.append(make('kbd', { textContent: labelOf(QUICK_KEYS[number]) }), make('span', { textContent: title }));
    button.addEventListener('pointerdown', (event) => {
      event.preventDefault();
      button.setPointerCapture(event.pointerId);
      this.press(number, true);
    });
    for (const end of /** @type {const} */ (['pointerup', 'pointercancel'])) button.addEventListener(end, () => this.press(number, false));
    return button;
  }

  #fill() {
    const list = this.#dialog.querySelector('#events-list');
    list?.replaceChildren(...this.#events.map((event, number) => {
      const line = make('div');
      const title = textField(event.title, 64, 'name', `Name of event ${number + 1}`);
      const text = textField(event.text, 2000, 'what happens', `Prompt of event ${number + 1}`);
      for (const field of [title, text]) field.addEventListener('change', () => this.#edit(number, title.value.trim(), text.value.trim()));
      line.append(make('kbd', { textContent: labelOf(QUICK_KEYS[number]) }), title, text);
      return line;
    }));
  }

  /**
   * @param {number} number
   * @param {string} title
   * @param {string} text
   */
  #edit(number, title, text) {
    const events = this.#events.map((event) => ({ ...event }));
    const named = title || `Event ${number + 1}`;
    const taken = events.some((event, i) => i !== number && event.name === named);
    events[number] = text ? { name: taken ? `${named.slice(0, 58)} (${number + 1})` : named, title: named, text } : { ...EMPTY };
    this.#change(events);
  }

  /** @param {QuickEvent[]} events the visitor's own; none: the world's */
  #change(events) {
    store(`events.${this.#world}`, events.length > 0 ? JSON.stringify(events) : null);
    this.#events = this.#kept();
    this.#draw();
    if (events.length === 0) this.#fill();
  }

  /** @returns {QuickEvent[]} */
  #kept() {
    let kept = null;
    try {
      kept = JSON.parse(recall(`events.${this.#world}`) ?? 'null');
    } catch {
      // not written by this page
    }
    const own = Array.isArray(kept) && kept.every((event) => ['name', 'title', 'text'].every((field) => typeof event?.[field] === 'string')) ? kept : this.#declared;
    return QUICK_KEYS.map((_, number) => ({ ...(own[number] ?? EMPTY) }));
  }
}

/**
 * @param {string} value
 * @param {number} most characters
 * @param {string} placeholder
 * @param {string} label
 */
function textField(value, most, placeholder, label) {
  const field = document.createElement('input');
  field.type = 'text';
  field.maxLength = most;
  field.value = value;
  field.placeholder = placeholder;
  field.setAttribute('aria-label', label);
  return field;
}
