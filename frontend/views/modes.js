// @ts-check
/**
 * The page's mode, `welcome` (before the first key), `playing` or `menu` (paused), and the panels that open over it.
 * Decides whether keys reach the world.
 */

import { setWakeLock } from '../lib/wake_lock.js';

/** @typedef {import('../app.js').Parts} Parts */
/** @typedef {'welcome' | 'playing' | 'menu'} Mode */

/** States of a short loss of the connection: keys stay held and the mouse stays captured, so that walking goes on. */
const PASSING = new Set([null, 'reconnecting', 'preparing', 'starting']);
const PATIENT_ATTEMPTS = 3;

export class Modes {
  /** @type {Parts} */
  #parts;
  /** @type {HTMLElement} */
  #menu;
  /** @type {Mode} */
  #mode = 'welcome';
  #leftWhilePlaying = false;
  #lockLostAt = -Infinity;

  /**
   * @param {Parts} parts
   * @param {HTMLElement} menu
   */
  constructor(parts, menu) {
    this.#parts = parts;
    this.#menu = menu;
  }

  get mode() {
    return this.#mode;
  }

  set mode(mode) {
    this.#mode = mode;
    document.body.dataset.mode = mode;
    this.#menu.inert = mode === 'playing';
    this.update();
  }

  /** Time at which the browser gave the mouse back last. */
  get lockLostAt() {
    return this.#lockLostAt;
  }

  /** True if there is a session and it is this visitor's own. */
  get own() {
    const { info } = this.#parts.session;
    return info !== null && !info.spectator;
  }

  /** True while a dialog is open. */
  get dialogOpen() {
    const { help, downloadsPanel, copyBox, quickEvents } = this.#parts;
    return help.open || downloadsPanel.open || copyBox.open || quickEvents.open;
  }

  /** True if a key or click may start to play: there is a frame and no panel in front of it. */
  get canPlay() {
    return this.#parts.overlay.kind === null && !this.dialogOpen && !this.#parts.filmstrip.open && this.#parts.session.steers;
  }

  /** Enables or disables the controls, after anything that decides it has changed. */
  update() {
    const { controls, overlay, filmstrip, prompt } = this.#parts;
    const free = !this.dialogOpen && !filmstrip.open && !prompt.open;
    const playable = this.#mode === 'playing' && PASSING.has(overlay.kind) && free && this.#parts.session.steers;
    if (controls.enabled !== playable) controls.enable(playable);
    setWakeLock(this.#mode === 'playing' && document.visibilityState === 'visible');
  }

  /**
   * Starts or resumes to play; with `lock`, captures the mouse. Returns true.
   * @param {{lock: boolean}} options
   */
  play({ lock }) {
    const { session, controls, editor } = this.#parts;
    if (document.activeElement instanceof HTMLElement) document.activeElement.blur();
    this.mode = 'playing';
    session.resume('menu');
    if (lock && !editor.open) controls.lock();
    return true;
  }

  /** The controls are a watcher's: the dream goes on, and the mouse is free. */
  watchOn() {
    if (this.#mode !== 'playing') this.play({ lock: false });
    this.#parts.controls.unlock();
  }

  /** Starts to play if that is possible and not the case. Returns true if it did. */
  wake() {
    return this.#mode !== 'playing' && this.canPlay && this.play({ lock: false });
  }

  openMenu() {
    if (!this.own) return;
    const { session, controls, editor } = this.#parts;
    this.closeFilmstrip();
    editor.close();
    this.mode = 'menu';
    controls.unlock();
    session.pause('menu');
    document.getElementById('play')?.focus(/** @type {FocusOptions} */ ({ preventScroll: true, focusVisible: false }));
  }

  /** @param {() => void} open opens the dialog */
  openDialog(open) {
    open();
    this.#parts.controls.unlock();
    this.update();
  }

  openPrompt() {
    if (this.#mode !== 'playing') this.play({ lock: false });
    this.#parts.prompt.show();
    this.#parts.controls.unlock();
    this.update();
  }

  openEditor() {
    const { session, controls, editor } = this.#parts;
    if (!this.canPlay || !session.info?.controls.includes('path')) return;
    controls.unlock();
    if (this.#mode !== 'playing') this.play({ lock: false });
    editor.show();
  }

  async openFilmstrip() {
    const { session, controls, editor, filmstrip, overlay, downloads, notices } = this.#parts;
    if (!this.own || overlay.kind !== null || this.dialogOpen) return;
    editor.close();
    if (this.#mode !== 'playing') this.mode = 'playing';
    session.pause('filmstrip');
    session.resume('menu');
    await overlay.attempt(async () => {
      const strip = await downloads.filmstrip();
      if (session.info) filmstrip.show(strip, notices.history, session.info.frames_per_chunk / session.info.fps);
    });
    if (!filmstrip.open) session.resume('filmstrip');
    controls.unlock();
    this.update();
    document.body.classList.toggle('filmstrip-open', filmstrip.open);
  }

  closeFilmstrip() {
    const { session, filmstrip } = this.#parts;
    if (!filmstrip.open) return;
    filmstrip.close();
    document.body.classList.remove('filmstrip-open');
    session.resume('filmstrip');
    this.update();
  }

  /**
   * Closes the filmstrip and continues after a chunk.
   * @param {number} chunk
   */
  rewindTo(chunk) {
    const { head } = this.#parts.filmstrip;
    this.closeFilmstrip();
    if (chunk !== head) this.#parts.session.rewind(chunk);
  }

  /**
   * The overlay shows another state of the connection.
   * @param {string | null} kind
   * @param {{attempt?: number}} data
   */
  statusChanged(kind, data = {}) {
    const passing = PASSING.has(kind);
    if (!passing) this.closeFilmstrip();
    this.update();
    if (!passing || (data.attempt ?? 0) > PATIENT_ATTEMPTS) this.#parts.controls.unlock();
  }

  /**
   * The mouse was captured or given back.
   * @param {boolean} locked
   */
  lockChanged(locked) {
    const { filmstrip, prompt, editor } = this.#parts;
    document.body.classList.toggle('locked', locked);
    if (locked) return;
    this.#lockLostAt = performance.now();
    const panelOpen = this.dialogOpen || filmstrip.open || prompt.open || editor.open;
    if (!this.#parts.session.steers) return;
    if (this.#mode === 'playing' && document.visibilityState === 'visible' && document.hasFocus() && !panelOpen) this.openMenu();
  }

  /** The tab was hidden or shown. */
  visibilityChanged() {
    const { session } = this.#parts;
    if (document.visibilityState === 'hidden') {
      this.#leftWhilePlaying = this.#mode === 'playing';
      session.pause('hidden');
    } else {
      if (this.#leftWhilePlaying && this.#mode === 'menu') this.play({ lock: false });
      session.resume('hidden');
    }
    this.update();
  }
}
