// @ts-check
/** Server notices: who watches, how the network is, how long the session still lasts, how a replay went. */

import { codeOf, labelOf } from '../input/keymap.js';

/** @typedef {import('../net/messages.d.ts').ServerMessages} ServerMessages */
/** @typedef {import('../net/session.js').ServerNotice} ServerNotice */

const QUALITY = ['', 'Slow network: a little less detail', 'Slow network: less detail', 'Slow network: least detail'];

export class Notices {
  /** @type {import('./badges.js').Badges} */
  #badges;
  #toast;
  /** Timer of each limit that is counted down. @type {Map<string, ReturnType<typeof setInterval>>} */
  #limits = new Map();
  /** @type {ServerMessages['history'] | null} */
  #history = null;
  /** Handler of each message, by its type. @type {{[T in ServerNotice['type']]: (message: ServerMessages[T]) => void}} */
  #handlers = {
    ready: (message) => this.#ready(message),
    history: (message) => { this.#history = message; },
    controls: ({ holder }) => this.#controls(holder),
    audience: ({ spectators }) => this.#badges.set('audience', spectators > 0 ? `${spectators} watching` : null),
    quality: (message) => this.#quality(message),
    limit: ({ what, seconds }) => this.#countDown(what, performance.now() + 1000 * seconds),
    rewinding: ({ done, of }) => this.#badges.set('rewinding', done < of ? `Dreaming that moment again: ${done} of ${of}` : null, 'live'),
    replay: (message) => this.#replay(message),
  };

  /**
   * @param {import('./badges.js').Badges} badges
   * @param {(text: string) => void} toast
   */
  constructor(badges, toast) {
    this.#badges = badges;
    this.#toast = toast;
  }

  /** Newest `history` message, or null. */
  get history() {
    return this.#history;
  }

  /** @param {ServerNotice} message */
  show(message) {
    const handler = /** @type {(message: ServerNotice) => void} */ (this.#handlers[message.type]);
    handler(message);
  }

  /** The visitor did something, so the idle limit no longer applies. */
  touched() {
    if (this.#limits.has('idle')) this.#countDown('idle', null);
  }

  /** @param {ServerMessages['ready']} message */
  #ready({ limits, resumed, spectator }) {
    if (!resumed) for (const what of [...this.#limits.keys()]) this.#countDown(what, null);
    for (const name of ['audience', 'controls', 'quality', 'replay', 'rewinding']) this.#badges.set(name, null);
    if (limits.minutes > 0 && !resumed && !spectator) this.#toast(`Everybody gets ${limits.minutes} minutes here; the last one is announced.`);
  }

  /** @param {ServerMessages['controls']['holder']} holder */
  #controls(holder) {
    this.#badges.set('controls', { you: null, player: null, watcher: 'A watcher has the controls' }[holder], 'live');
    if (holder === 'you') this.#toast('You have the controls.');
  }

  /** @param {ServerMessages['quality']} message */
  #quality({ level, reason }) {
    this.#badges.set('quality', level > 0 ? QUALITY[Math.min(level, QUALITY.length - 1)] : null, 'warn');
    if (level === 0 && reason === 'recovered') this.#toast('The network has recovered: full detail again.');
  }

  /** @param {ServerMessages['replay']} message */
  #replay({ state, chunk, of, matches, differs_at: differsAt, same_model: sameModel, together = 0 }) {
    this.#badges.set('replay', state === 'playing' ? `Replay: ${chunk} of ${of} chunks. Any key takes over.` : null, 'live');
    if (state === 'left') this.#toast('It is your dream from here on.');
    if (state !== 'done') return;
    const others = together > 0 ? ` ${together} of its chunks were computed together with other visitors', which rounds otherwise.` : '';
    const model = sameModel ? others : ' It was saved with another model.';
    if (matches === true) this.#toast(`Replayed exactly: all ${of} chunks are the same, bit for bit. Walk on from here.`);
    else if (matches === false) this.#toast(`Replayed, but from chunk ${differsAt} on the frames are not the same bits.${model}`);
    else this.#toast(`Replayed. Walk on from here.${model}`);
  }

  /**
   * Counts down to a limit, or no more.
   * @param {string} what
   * @param {number | null} endsAt
   */
  #countDown(what, endsAt) {
    clearInterval(this.#limits.get(what));
    this.#limits.delete(what);
    this.#badges.set(`limit-${what}`, null);
    if (endsAt === null) return;
    const show = () => {
      const left = Math.max(0, Math.ceil((endsAt - performance.now()) / 1000));
      const text = what === 'idle' ? `Still there? Without a key this dream ends in ${left} s` : `This dream ends in ${left} s: ${labelOf(codeOf('clip'))} saves the last of it`;
      this.#badges.set(`limit-${what}`, text, 'warn');
    };
    show();
    this.#limits.set(what, setInterval(show, 1000));
  }
}
