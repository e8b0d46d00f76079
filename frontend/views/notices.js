/** What the server tells beside the dream, in words: who watches, how the network is, how long it still lasts, how a replay went. */

import { codeOf, labelOf } from '../input/keymap.js';

const QUALITY = ['', 'Slow network: a little less detail', 'Slow network: less detail', 'Slow network: least detail'];

export class News {
  #chips;
  #toast;
  #limits = new Map();

  /** `chips`: the standing remarks; `toast(text)`: a passing one. */
  constructor(chips, toast) {
    this.#chips = chips;
    this.#toast = toast;
  }

  /** Shows one message of the server. */
  show(message) {
    this[`_${message.type}`]?.(message);
  }

  /** The visitor did something, so nobody is idle. */
  touched() {
    if (this.#limits.has('idle')) this.#limit('idle', null);
  }

  /** A session has begun, or goes on over a new connection. What it may take is said once, where it has an end. */
  _ready({ limits, resumed, spectator }) {
    if (!resumed) for (const what of [...this.#limits.keys()]) this.#limit(what, null);
    for (const name of ['audience', 'quality', 'replay', 'rewinding']) this.#chips.set(name, null);
    if (limits?.minutes > 0 && !resumed && !spectator) this.#toast(`Everybody gets ${limits.minutes} minutes here; the last one is announced.`);
  }

  _audience({ spectators }) {
    this.#chips.set('audience', spectators > 0 ? `${spectators} watching` : null);
  }

  _quality({ level, reason }) {
    this.#chips.set('quality', level > 0 ? QUALITY[Math.min(level, QUALITY.length - 1)] : null, 'warn');
    if (level === 0 && reason === 'recovered') this.#toast('The network has recovered: full detail again.');
  }

  _limit({ what, seconds }) {
    this.#limit(what, performance.now() + 1000 * seconds);
  }

  _rewinding({ done, of }) {
    this.#chips.set('rewinding', done < of ? `Dreaming that moment again: ${done} of ${of}` : null, 'live');
  }

  _replay({ state, chunk, of, matches, differs_at: differsAt, same_model: sameModel }) {
    this.#chips.set('replay', state === 'playing' ? `Replay: ${chunk} of ${of} chunks. Any key takes over.` : null, 'live');
    if (state === 'left') this.#toast('It is your dream from here on.');
    if (state !== 'done') return;
    const model = sameModel ? '' : ' It was saved with another model.';
    if (matches === true) this.#toast(`Replayed exactly: all ${of} chunks are the same, bit for bit. Walk on from here.`);
    else if (matches === false) this.#toast(`Replayed, but from chunk ${differsAt} on the pictures are not the same bits.${model}`);
    else this.#toast(`Replayed. Walk on from here.${model}`);
  }

  #limit(what, endsAt) {
    clearInterval(this.#limits.get(what));
    this.#limits.delete(what);
    this.#chips.set(`limit-${what}`, null);
    if (endsAt === null) return;
    const show = () => {
      const left = Math.max(0, Math.ceil((endsAt - performance.now()) / 1000));
      const text = what === 'idle' ? `Still there? Without a key this dream ends in ${left} s` : `This dream ends in ${left} s: ${labelOf(codeOf('clip'))} saves the last of it`;
      this.#chips.set(`limit-${what}`, text, 'warn');
    };
    show();
    this.#limits.set(what, setInterval(show, 1000));
  }
}
