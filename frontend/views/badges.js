// @ts-check
/** Badges: short standing remarks at the top of the stage, such as recording, spectators, a slow network, a limit. */

import { codeOf, labelOf } from '../input/keymap.js';

const RECORDING_EVERY_MS = 500;

export class Badges {
  /** @type {HTMLElement} */
  #root;

  /** @param {HTMLElement} root */
  constructor(root) {
    this.#root = root;
  }

  /**
   * Shows a text under a name; null removes it.
   * @param {string} name
   * @param {string | null} text
   * @param {'' | 'live' | 'warn'} kind colour of the dot
   */
  set(name, text, kind = '') {
    /** @type {HTMLElement | null} */
    let badge = this.#root.querySelector(`[data-badge="${name}"]`);
    if (text === null) {
      badge?.remove();
      return;
    }
    if (!badge) {
      badge = document.createElement('li');
      badge.dataset.badge = name;
      this.#root.append(badge);
    }
    badge.className = kind;
    if (badge.textContent !== text) badge.textContent = text;
  }
}

/** Starts and saves a recording, and shows how long it is. */
export class RecordingBadge {
  /** @type {import('../app.js').Parts} */
  #parts;

  /** @param {import('../app.js').Parts} parts */
  constructor(parts) {
    this.#parts = parts;
  }

  toggle() {
    const { downloads, overlay } = this.#parts;
    if (downloads.recorded === null) {
      downloads.record();
    } else {
      overlay.attempt(() => downloads.stop(), 'The recording is saved.');
    }
    this.#show();
  }

  #show() {
    const seconds = this.#parts.downloads.recorded;
    const text = seconds === null ? null : `Recording ${seconds.toFixed(0)} s: ${labelOf(codeOf('record'))} saves it`;
    this.#parts.badges.set('recording', text, 'live');
    if (seconds !== null) setTimeout(() => this.#show(), RECORDING_EVERY_MS);
  }
}
