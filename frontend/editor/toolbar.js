// @ts-check
/** The editor's buttons: runs their commands, and shows what is possible now. */

import { setText } from '../lib/dom.js';

/**
 * State that the buttons show.
 * @typedef {object} ToolbarState
 * @property {import('./transport.js').Transport} transport
 * @property {import('./camera_path.js').CameraPath} path
 * @property {number} frames number of frames of the path
 * @property {string} refusal why the path cannot be followed
 * @property {number} moved number of frames that were moved around things
 */

export class Toolbar {
  /** @type {HTMLElement} */
  #root;

  /**
   * @param {HTMLElement} root
   * @param {Record<string, () => unknown>} commands by the buttons' `data-editor`
   * @param {() => void} redraw
   */
  constructor(root, commands, redraw) {
    this.#root = root;
    root.addEventListener('click', (event) => {
      const button = /** @type {HTMLElement | null} */ (/** @type {Element} */ (event.target).closest('[data-editor]'));
      if (!button) return;
      commands[button.dataset.editor ?? '']?.();
      redraw();
    });
    root.addEventListener('keydown', keepOwnKeys);
    document.addEventListener('keydown', (event) => {
      const command = root.hidden ? null : undoCommand(event);
      if (!command) return;
      event.preventDefault();
      commands[command]();
    }, { capture: true });
  }

  /** @param {ToolbarState} state */
  draw({ transport, path, frames, refusal, moved }) {
    const { doing } = transport;
    const following = doing === 'dream' || doing === 'asking';
    this.#root.dataset.doing = doing;
    this.#set('undo', { disabled: !path.canUndo });
    this.#set('redo', { disabled: !path.canRedo });
    this.#set('clear', { disabled: path.keys.length === 0 });
    this.#set('preview', { disabled: frames < 2 });
    this.#set('dream', { disabled: !following && (frames === 0 || refusal !== '') });
    this.#set('on', { hidden: !transport.mayDreamOn });
    this.#set('walk', { hidden: following || !transport.chunkHere });
    this.#set('video', { hidden: !transport.maySave });
    this.#label('preview', doing === 'preview' ? 'Stop' : 'Preview');
    this.#label('dream', following ? 'Stop' : 'Dream it');
    this.#label('record', doing === 'record' ? 'Make it the path' : 'Record a walk');
    this.#part('empty').hidden = path.keys.length > 0;
    setText(this.#part('note'), refusal);
    setText(this.#part('told'), refusal || moved === 0 ? '' : `${moved} of ${frames} frames go around what stands there.`);
  }

  /**
   * @param {string} name
   * @returns {any}
   */
  #part(name) {
    return this.#root.querySelector(`#editor-${name}`);
  }

  /**
   * @param {string} name
   * @param {Partial<HTMLButtonElement>} fields
   */
  #set(name, fields) {
    Object.assign(/** @type {Element} */ (this.#root.querySelector(`[data-editor="${name}"]`)), fields);
  }

  /**
   * @param {string} name
   * @param {string} text
   */
  #label(name, text) {
    setText(/** @type {Element} */ (this.#root.querySelector(`[data-editor="${name}"] span`)), text);
  }
}

/**
 * Keeps keys that move within a control from the page's bindings; letters still walk.
 * @param {KeyboardEvent} event
 */
function keepOwnKeys(event) {
  const target = /** @type {Element} */ (event.target);
  const choosing = target.matches('select');
  if (/^(?:Arrow|Home|End|Page)/.test(event.key) ? choosing || target.matches('input[type="range"]') : choosing && event.key.length === 1) event.stopPropagation();
}

/**
 * Returns `undo` or `redo` for their keys, unless text is being typed.
 * @param {KeyboardEvent} event
 */
function undoCommand(event) {
  const key = event.key.toLowerCase();
  const typing = event.target instanceof Element && event.target.matches('input[data-typing]');
  if (!(event.ctrlKey || event.metaKey) || !['z', 'y'].includes(key) || typing) return null;
  return key === 'y' || event.shiftKey ? 'redo' : 'undo';
}
