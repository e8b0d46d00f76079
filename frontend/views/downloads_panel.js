/** The panel of what can be kept and shared, and the box whose text can be copied. */

export class KeepPanel {
  #dialog;
  #do;

  /** `run(name)`: the visitor chose one of the panel's buttons; `open(file)`: a save file; `onClose()` after closing. */
  constructor(dialog, { run, open, onClose }) {
    this.#dialog = dialog;
    this.#do = run;
    dialog.addEventListener('click', (event) => {
      if (event.target === dialog) dialog.close();
      const button = event.target.closest('[data-keep]');
      if (button) this.#chosen(button.dataset.keep);
    });
    dialog.querySelector('#keep-close').addEventListener('click', () => dialog.close());
    const file = dialog.querySelector('#keep-file');
    file.addEventListener('change', () => {
      if (file.files.length > 0) open(file.files[0]);
      file.value = '';
    });
    dialog.addEventListener('close', onClose);
  }

  get open() {
    return this.#dialog.open;
  }

  /** Opens or closes it; `recording`: whether it records; `own`: whether the dream is the visitor's own. */
  toggle({ recording, own }) {
    if (this.open) {
      this.#dialog.close();
      return;
    }
    this.#dialog.querySelector('[data-keep="record"] b').textContent = recording ? 'Stop and save the recording' : 'Record';
    for (const button of this.#dialog.querySelectorAll('[data-own]')) button.hidden = !own;
    this.#dialog.showModal();
  }

  close() {
    this.#dialog.close();
  }

  #chosen(name) {
    if (name === 'open') {
      this.#dialog.querySelector('#keep-file').click();
      return;
    }
    this.close();
    this.#do(name);
  }
}

export class CopyBox {
  #dialog;
  #said;

  /** `onClose()` after closing; `said(text)`: a passing remark. */
  constructor(dialog, { onClose, said }) {
    this.#dialog = dialog;
    this.#said = said;
    dialog.querySelector('#copy-close').addEventListener('click', () => dialog.close());
    dialog.querySelector('#copy-do').addEventListener('click', () => this.#copy());
    dialog.addEventListener('click', (event) => event.target === dialog && dialog.close());
    dialog.addEventListener('close', onClose);
  }

  get open() {
    return this.#dialog.open;
  }

  /** Shows `text`, selected, to be copied. */
  show(title, text) {
    this.#dialog.querySelector('#copy-title').textContent = title;
    const area = this.#dialog.querySelector('#copy-text');
    area.value = text;
    area.rows = Math.min(22, text.split('\n').length + (text.includes('\n') ? 0 : 1));
    if (!this.open) this.#dialog.showModal();
    area.select();
  }

  async #copy() {
    const area = this.#dialog.querySelector('#copy-text');
    area.select();
    try {
      await navigator.clipboard.writeText(area.value);
      this.#dialog.close();
      this.#said('Copied.');
    } catch {
      this.#said('This browser does not let the page copy. The text is selected: press Ctrl or ⌘ and C.');
    }
  }
}
