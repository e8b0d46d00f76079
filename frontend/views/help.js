// @ts-check
/** The help: the list of keys, where other keys can be bound, and the gamepads' dead zone. */

import { deadZone, setDeadZone } from '../input/gamepad.js';
import { relabel } from '../input/keycaps.js';
import {
  FIXED_HELP, GAMEPAD_HELP, TOUCH_HELP, bindings, choose, codeOf, forgetChosen, hasChosen, isHidden, labelOf, mayChoose, padActions, wordsFor,
} from '../input/keymap.js';

/** Labels of gamepad buttons, as most pads print them. @type {Readonly<Record<number, string>>} */
const PAD_LABELS = Object.freeze({ 0: 'A', 2: 'X', 4: 'LB', 5: 'RB', 6: 'LT', 7: 'RT', 10: 'L3', 11: 'R3' });
/** @type {readonly [string[], string][]} */
const EVENT_HELP = Object.freeze([[['1', '2', '3', '…', '='], 'while playing: an event by words; hold it, or tap it on and off']]);
const HINT = 'Press a key in this list to choose another one for it.';

export class Help {
  /** @type {HTMLDialogElement} */
  #dialog;
  /** Action that waits for its new key. @type {string | null} */
  #waiting = null;

  /**
   * @param {HTMLDialogElement} dialog
   * @param {() => void} onClose
   */
  constructor(dialog, onClose) {
    this.#dialog = dialog;
    this.#part('close').addEventListener('click', () => dialog.close());
    this.#part('defaults').addEventListener('click', () => {
      forgetChosen();
      this.#note('');
      this.#changed();
      this.#part('close').focus(); // the button has just gone
    });
    dialog.addEventListener('click', (event) => event.target === dialog && dialog.close());
    dialog.addEventListener('cancel', (event) => this.#waiting && event.preventDefault()); // Esc then only leaves the key as it is
    dialog.addEventListener('close', () => {
      this.#wait(null);
      onClose();
    });
    dialog.addEventListener('keydown', (event) => this.#keydown(event), { capture: true });
    this.#wireDeadZone();
  }

  get open() {
    return this.#dialog.open;
  }

  /**
   * Opens or closes it.
   * @param {string} about line on the world
   * @param {(control: string) => boolean} has returns true if the world takes a control
   */
  toggle(about, has) {
    if (this.open) {
      this.#dialog.close();
      return;
    }
    this.#part('about').textContent = about;
    this.#note('');
    this.#fill(has);
    this.#changed();
    this.#dialog.showModal();
  }

  #wireDeadZone() {
    const slider = this.#part('dead-zone');
    const show = () => { this.#part('dead-zone-value').textContent = `${slider.value} %`; };
    slider.value = String(Math.round(100 * deadZone()));
    slider.addEventListener('input', () => {
      setDeadZone(Number(slider.value) / 100);
      show();
    });
    show();
  }

  /**
   * @param {string} name
   * @returns {any}
   */
  #part(name) {
    return this.#dialog.querySelector(`#help-${name}`);
  }

  /** @param {(control: string) => boolean} has */
  #fill(has) {
    const list = this.#part('list');
    list.replaceChildren();
    const coarse = matchMedia('(pointer: coarse)').matches;
    if (coarse) this.#fixed(list, TOUCH_HELP);
    for (const action of bindings().filter((one) => !isHidden(one, has))) {
      const button = Object.assign(document.createElement('button'), { type: 'button', className: 'choose-key' });
      const cap = Object.assign(document.createElement('kbd'), { textContent: labelOf(codeOf(action.id)) });
      cap.dataset.action = action.id;
      button.append(cap);
      button.addEventListener('click', () => this.#wait(this.#waiting === action.id ? null : action.id));
      this.#line(list, [button], action.group ? `${action.group}: ${action.label}` : wordsFor(action.id));
    }
    this.#fixed(list, FIXED_HELP);
    if (has('text')) this.#fixed(list, EVENT_HELP);
    this.#fixed(list, GAMEPAD_HELP);
    this.#fixed(list, [...padActions()].map(([number, name]) => [[PAD_LABELS[number]], wordsFor(`action:${name}`)]));
  }

  /**
   * @param {HTMLElement} list
   * @param {readonly [string[], string][]} lines
   */
  #fixed(list, lines) {
    for (const [keys, meaning] of lines) {
      this.#line(list, keys.map((key) => Object.assign(document.createElement('kbd'), { textContent: key })), meaning);
    }
  }

  /**
   * @param {HTMLElement} list
   * @param {HTMLElement[]} keys
   * @param {string} meaning
   */
  #line(list, keys, meaning) {
    const line = document.createElement('div');
    const term = document.createElement('dt');
    term.append(...keys);
    line.append(term, Object.assign(document.createElement('dd'), { textContent: meaning }));
    list.append(line);
  }

  /** @type {HTMLElement[]} */
  get #caps() {
    return [...this.#dialog.querySelectorAll('.choose-key kbd')].map((cap) => /** @type {HTMLElement} */ (cap));
  }

  /** @param {string | null} id */
  #wait(id) {
    this.#waiting = id;
    for (const cap of this.#caps) cap.classList.toggle('lit', cap.dataset.action === id);
    if (id) this.#note(`Press the key to ${wordsFor(id)} with, or Esc to leave it as it is.`);
  }

  /** @param {KeyboardEvent} event */
  #keydown(event) {
    if (!this.#waiting || event.code === 'Tab') return;
    event.preventDefault();
    event.stopPropagation();
    const id = this.#waiting;
    if (event.code === 'Escape') {
      this.#wait(null);
      this.#note('');
    } else if (mayChoose(event.code)) {
      choose(id, event.code);
      this.#wait(null);
      this.#changed();
      this.#note(`${labelOf(event.code)} is now the key to ${wordsFor(id)}.`);
    } else {
      this.#note('That key keeps its meaning. Press another one.');
    }
  }

  #changed() {
    relabel();
    for (const cap of this.#caps) {
      cap.parentElement?.setAttribute('aria-label', `${cap.textContent}: key to ${wordsFor(cap.dataset.action ?? '')}; press to choose another`);
    }
    this.#part('defaults').hidden = !hasChosen();
  }

  /** @param {string} text */
  #note(text) {
    this.#part('note').textContent = text || HINT;
  }
}
