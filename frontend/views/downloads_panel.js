// @ts-check
/** The panel of downloads and links, and the box of a text to copy. */

import { byId, setText } from '../lib/dom.js';

export class DownloadsPanel {
  /** @type {HTMLDialogElement} */
  #dialog;
  #run;

  /**
   * @param {HTMLDialogElement} dialog
   * @param {{run: (name: string) => void, open: (file: File) => void, onClose: () => void}} on `run` gets the chosen button's name, `open` a save file
   */
  constructor(dialog, { run, open, onClose }) {
    this.#dialog = dialog;
    this.#run = run;
    dialog.addEventListener('click', (event) => {
      if (event.target === dialog) dialog.close();
      const button = /** @type {HTMLElement | null} */ (/** @type {Element} */ (event.target).closest('[data-download]'));
      if (button) this.#chosen(button.dataset.download ?? '');
    });
    byId('downloads-close').addEventListener('click', () => dialog.close());
    /** @type {HTMLInputElement} */
    const file = byId('downloads-file');
    file.addEventListener('change', () => {
      if (file.files?.[0]) open(file.files[0]);
      file.value = '';
    });
    dialog.addEventListener('close', onClose);
  }

  get open() {
    return this.#dialog.open;
  }

  /**
   * Opens or closes it.
   * @param {{recording: boolean, own: boolean}} state `own`: the session is the visitor's own
   */
  toggle({ recording, own }) {
    if (this.open) {
      this.#dialog.close();
      return;
    }
    setText(/** @type {Element} */ (this.#dialog.querySelector('[data-download="record"] b')), recording ? 'Stop and save the recording' : 'Record');
    for (const button of /** @type {NodeListOf<HTMLElement>} */ (this.#dialog.querySelectorAll('[data-own]'))) button.hidden = !own;
    this.#dialog.showModal();
  }

  close() {
    this.#dialog.close();
  }

  /** @param {string} name */
  #chosen(name) {
    if (name === 'open') {
      byId('downloads-file').click();
      return;
    }
    this.close();
    this.#run(name);
  }
}

export class CopyBox {
  /** @type {HTMLDialogElement} */
  #dialog;
  #toast;

  /**
   * @param {HTMLDialogElement} dialog
   * @param {{onClose: () => void, toast: (text: string) => void}} on
   */
  constructor(dialog, { onClose, toast }) {
    this.#dialog = dialog;
    this.#toast = toast;
    byId('copy-close').addEventListener('click', () => dialog.close());
    byId('copy-do').addEventListener('click', () => this.#copy());
    dialog.addEventListener('click', (event) => event.target === dialog && dialog.close());
    dialog.addEventListener('close', onClose);
  }

  get open() {
    return this.#dialog.open;
  }

  /**
   * Shows a text, selected.
   * @param {string} title
   * @param {string} text
   */
  show(title, text) {
    byId('copy-title').textContent = title;
    /** @type {HTMLTextAreaElement} */
    const area = byId('copy-text');
    area.value = text;
    area.rows = Math.min(22, text.split('\n').length + (text.includes('\n') ? 0 : 1));
    if (!this.open) this.#dialog.showModal();
    area.select();
  }

  async #copy() {
    /** @type {HTMLTextAreaElement} */
    const area = byId('copy-text');
    area.select();
    try {
      await navigator.clipboard.writeText(area.value);
      this.#dialog.close();
      this.#toast('Copied.');
    } catch {
      this.#toast('This browser does not let the page copy. The text is selected: press Ctrl or ⌘ and C.');
    }
  }
}
