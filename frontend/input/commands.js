// @ts-check
/** The commands of keys, buttons and gamepads, by name. */

import { drawSeed, wantedFromAddress } from '../views/scenes.js';
import { moveFocus, pressFocused } from './focus.js';
import { aboutWorld } from '../lib/format.js';

/** @typedef {import('../app.js').Parts} Parts */
/** @typedef {import('../net/connection.js').StartFields} StartFields */

const SAME_ESC_MS = 150; // some browsers also report the Esc key that gave the mouse back

export class Commands {
  /** @type {Parts} */
  #parts;
  /** @type {Record<string, () => unknown>} */
  #byName;

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
    this.#byName = this.#table();
  }

  /** @returns {Record<string, () => unknown>} */
  #table() {
    const { downloads, editor, filmstrip, help, hud, modes, overlay, session } = this.#parts;
    const { copyBox, downloadsPanel, recordingBadge } = this.#parts;
    return {
      back: () => this.#back(),
      menu: () => (modes.mode === 'playing' ? modes.openMenu() : modes.mode === 'menu' && modes.wake()),
      reset: () => modes.own && this.startOver({}),
      dice: () => modes.own && this.startOver({ seed: drawSeed() }),
      filmstrip: () => (filmstrip.open ? modes.closeFilmstrip() : modes.openFilmstrip()),
      editor: () => (editor.open ? editor.close() : modes.openEditor()),
      keyframe: () => editor.open && editor.here(),
      preview: () => editor.open && editor.preview(),
      follow: () => editor.open && editor.dream(),
      prompt: () => modes.own && session.info?.controls.includes('text') && modes.openPrompt(),
      events: () => modes.own && session.info?.controls.includes('text') && modes.openDialog(() => this.#parts.quickEvents.toggle()),
      hud: () => hud.next(),
      report: () => modes.openDialog(() => copyBox.show('Report', hud.report())),
      downloads: () => session.info && modes.openDialog(() => downloadsPanel.toggle({ recording: downloads.recorded !== null, own: modes.own })),
      help: () => modes.openDialog(() => help.toggle(aboutWorld(session.info), (/** @type {string} */ control) => session.info?.controls.includes(control) ?? false)),
      fullscreen: () => overlay.attempt(toggleFullscreen),
      record: () => session.info && recordingBadge.toggle(),
      clip: () => overlay.attempt(() => downloads.clip(), 'The last 30 seconds are saved.'),
      still: () => overlay.attempt(() => downloads.still(), 'The picture is saved.'),
      trajectory: () => overlay.attempt(() => downloads.trajectory(), 'The camera path is saved.'),
      session: () => overlay.attempt(() => downloads.savedSession(), 'The dream is saved. “Open a saved dream” dreams it again.'),
      replay: () => overlay.attempt(async () => this.#showLink('Link that dreams it again', await downloads.replayLink())),
      watch: () => overlay.attempt(async () => this.#showLink('Link to watch', downloads.watchLink)),
    };
  }

  /**
   * Runs a command; `scene:<n>` chooses a scene by its place in the list.
   * @param {string} name
   */
  run(name) {
    const { help, modes, scenes } = this.#parts;
    if (help.open && name !== 'help') return;
    if (name.startsWith('scene:')) {
      const scene = scenes.names[Number(name.slice('scene:'.length))];
      if (scene && modes.canPlay) this.pickScene(scene);
      return;
    }
    this.#byName[name]?.();
  }

  /**
   * Runs the command of a gamepad's button: in menus it moves the focus.
   * @param {string} command
   */
  press(command) {
    const { modes } = this.#parts;
    const choosing = modes.mode !== 'playing' || modes.dialogOpen;
    const dialog = /** @type {HTMLDialogElement | null} */ (document.querySelector('dialog[open]'));
    if (command === 'confirm') {
      if (choosing && !pressFocused()) modes.wake();
    } else if (command === 'next' || command === 'previous') {
      if (choosing) moveFocus(command === 'next' ? 1 : -1);
    } else if (command === 'back' && dialog) {
      dialog.close();
    } else {
      this.run(command);
    }
  }

  /**
   * Continues in another scene; on the welcome screen starts over in it.
   * @param {string} name
   */
  pickScene(name) {
    const { modes, session } = this.#parts;
    if (modes.mode === 'welcome') {
      this.startOver({ scene: name });
      return;
    }
    session.setScene(name);
    if (modes.mode === 'menu') modes.play({ lock: false });
  }

  /**
   * Starts over with other fields of `start`; without any, with the same seed.
   * @param {{scene?: string, seed?: number, text?: string, image?: string}} change
   */
  startOver(change) {
    const { badges, modes, session } = this.#parts;
    badges.set('seed', null);
    if (change.image) session.begin({ ...this.#wanted(), ...change });
    else session.reset(change);
    if (modes.mode === 'menu') modes.play({ lock: false });
  }

  /** Starts a new session after one that has ended. */
  startAfresh() {
    this.#parts.modes.mode = 'welcome';
    this.#parts.session.begin(this.#wanted());
  }

  /** @returns {StartFields} */
  #wanted() {
    const { info } = this.#parts.session;
    return info && !info.spectator ? { world: info.world, scene: info.scene, seed: info.seed, text: info.text || undefined, image: info.image } : wantedFromAddress();
  }

  /** Esc: closes what is open last. */
  #back() {
    const { modes, filmstrip, editor } = this.#parts;
    if (performance.now() - modes.lockLostAt <= SAME_ESC_MS) return;
    if (filmstrip.open) modes.closeFilmstrip();
    else if (editor.open && modes.mode === 'playing') editor.back();
    else this.run('menu');
  }

  /**
   * @param {string} title
   * @param {string} link
   */
  #showLink(title, link) {
    this.#parts.modes.openDialog(() => this.#parts.copyBox.show(title, link));
  }
}

async function toggleFullscreen() {
  try {
    if (document.fullscreenElement) await document.exitFullscreen();
    else await document.documentElement.requestFullscreen({ navigationUI: 'hide' });
  } catch {
    throw new Error('This browser does not allow full screen here.');
  }
}
