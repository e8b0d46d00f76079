/** The list of keys: what each does, and where every visitor can choose others. */

import { relabel } from '../input/keycaps.js';
import {
  ACTIONS, FIXED_HELP, GAMEPAD_HELP, TOUCH_HELP, choose, codeOf, forgetChosen, hasChosen, labelOf, mayChoose,
} from '../input/keymap.js';

const HINT = 'Press a key in this list to choose another one for it.';

export class Help {
  #dialog;
  #waiting = null;

  /** `dialog`: the element; `onClose()` after it was closed. */
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
    dialog.addEventListener('cancel', (event) => this.#waiting && event.preventDefault()); // Esc then only ends the choosing
    dialog.addEventListener('close', () => {
      this.#wait(null);
      onClose();
    });
    dialog.addEventListener('keydown', (event) => this.#keydown(event), { capture: true });
    this.#fill();
  }

  get open() {
    return this.#dialog.open;
  }

  /** Opens or closes; `about` is a line on what is played, `has(control)` says what the world understands. */
  toggle(about, has) {
    if (this.open) {
      this.#dialog.close();
      return;
    }
    this.#part('about').textContent = about;
    this.#note('');
    for (const line of this.#dialog.querySelectorAll('[data-needs]')) line.hidden = !has(line.dataset.needs);
    this.#changed();
    this.#dialog.showModal();
  }

  #part(name) {
    return this.#dialog.querySelector(`#help-${name}`);
  }

  #fill() {
    const list = this.#part('list');
    const coarse = matchMedia('(pointer: coarse)').matches;
    if (coarse) this.#fixed(list, TOUCH_HELP);
    for (const action of ACTIONS) {
      const button = Object.assign(document.createElement('button'), { type: 'button', className: 'choose-key' });
      button.append(Object.assign(document.createElement('kbd'), { textContent: labelOf(codeOf(action.id)) }));
      button.firstElementChild.dataset.action = action.id;
      button.addEventListener('click', () => this.#wait(this.#waiting === action.id ? null : action.id));
      this.#line(list, [button], action.label, action.needs ?? null);
    }
    this.#fixed(list, FIXED_HELP);
    this.#fixed(list, GAMEPAD_HELP);
  }

  #fixed(list, lines) {
    for (const [keys, meaning] of lines) {
      this.#line(list, keys.map((key) => Object.assign(document.createElement('kbd'), { textContent: key })), meaning, null);
    }
  }

  #line(list, keys, meaning, needs) {
    const line = document.createElement('div');
    if (needs) line.dataset.needs = needs;
    const term = document.createElement('dt');
    term.append(...keys);
    line.append(term, Object.assign(document.createElement('dd'), { textContent: meaning }));
    list.append(line);
  }

  #wait(id) {
    this.#waiting = id;
    for (const cap of this.#dialog.querySelectorAll('.choose-key kbd')) cap.classList.toggle('lit', cap.dataset.action === id);
    if (id) this.#note(`Press the key to ${labelOfAction(id)} with, or Esc to leave it as it is.`);
  }

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
      this.#note(`${labelOf(event.code)} is now the key to ${labelOfAction(id)}.`);
    } else {
      this.#note('That key keeps its meaning. Press another one.');
    }
  }

  #changed() {
    relabel();
    for (const cap of this.#dialog.querySelectorAll('.choose-key kbd')) {
      cap.parentElement.setAttribute('aria-label', `${cap.textContent}: key to ${labelOfAction(cap.dataset.action)}; press to choose another`);
    }
    this.#part('defaults').hidden = !hasChosen();
  }

  #note(text) {
    this.#part('note').textContent = text || HINT;
  }
}

function labelOfAction(id) {
  return ACTIONS.find((action) => action.id === id).label;
}
