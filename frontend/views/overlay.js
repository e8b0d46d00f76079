// @ts-check
/** The overlay: text and a button while there is no video to play. And toasts. */

import { byId, setText } from '../lib/dom.js';

/** Title and text of the reason of `ended`. @type {Record<string, [string, string]>} */
const REASONS = {
  idle: ['The dream has faded', 'Nobody pressed a key for a while, so its place was given back.'],
  failed: ['This dream broke off', 'The model stumbled on it. Others are not affected, and a new one starts clean.'],
  taken_over: ['The dream goes on elsewhere', 'It was opened in another tab or window, which plays it now.'],
  time: ['Your time is up', 'Every visit here has a limit, so that others get their turn.'],
  left: ['The dream you watched has ended', 'Whoever walked in it has left. You can dream one of your own.'],
  shutdown: ['The server is stopping', 'It was asked to shut down. Start it again, then dream on.'],
};

/** @typedef {[title: string, text: string, button?: [label: string, action: string]]} Saying */

/** Title, text and button of each status. @type {Record<string, (data: any) => Saying>} */
const SAYINGS = {
  connecting: () => ['Reaching the server', ''],
  loading: () => ['Waking the dreamer', 'The model is being loaded. This happens once, when the server starts.'],
  preparing: () => ['Dreaming a new place', 'The picture comes once the land around you is there.'],
  starting: () => ['Dreaming the first picture', ''],
  queue: ({ position, seconds }) => [
    position === 1 ? 'You are next' : `You are number ${position} in line`,
    `Every place is taken right now. Leave this page open: it begins by itself as soon as a place is free${wait(seconds)}.`,
  ],
  reconnecting: ({ attempt }) => [
    'Connection lost',
    attempt > 3
      ? 'Still no answer. Is the server running? In its terminal, “make play” starts it. This page keeps trying.'
      : 'Coming back to your dream by itself.',
    ['Try now', 'retry'],
  ],
  unreachable: () => ['The server does not answer', 'Is it running? In its terminal, “make play” starts it. This page keeps trying.', ['Try now', 'retry']],
  blocked: () => [
    'The live connection is blocked',
    `The server answers, but no WebSocket to it opens. A proxy on the way must let WebSockets through and pass on the Host header with its port; or start the server with --allowed-origins ${location.origin}, or use its own address.`,
    ['Try now', 'retry'],
  ],
  ended: ({ reason }) => [...(REASONS[reason] ?? ['The dream has ended', `The server says: ${reason}.`]), reason === 'left' ? ['Dream your own', 'defaults'] : ['Dream a new one', 'fresh']],
  refused: ({ reason }) => [
    'The server refuses this page',
    `${reason ? `It says: ${reason} ` : ''}Open the page at the address that the server printed when it started.`,
    ['Try again', 'retry'],
  ],
  codec: ({ mime, asked }) => (asked
    ? ['This browser has not that player', `The address asks for “${asked}”, which does not work here.`, ['Choose for me', 'defaults']]
    : [
      'This browser cannot play the video',
      `It lacks ${mime || 'every way to show it'}. Open this page in a current Chrome, Edge, Firefox or Safari; on Linux, Chromium needs its H.264 codecs installed (the distribution’s “chromium-codecs” or “ffmpeg” package).`,
      ['Try anyway', 'retry'],
    ]),
  broken: ({ message }) => ['The picture got stuck', `The browser’s player gave up: ${message}. Reloading the page usually helps.`, ['Reload', 'reload']],
  failed: ({ message }) => ['That did not work', message, ['Start with the defaults', 'defaults']],
};

/** Delay of statuses that may be over at once, so that they do not flash. @type {Record<string, number>} */
const PATIENT_MS = { connecting: 500, preparing: 350, starting: 700, reconnecting: 350 };

export class Overlay {
  /** @type {HTMLElement} */
  #root;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {string | null} */
  #kind = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #toastTimer;

  /**
   * @param {HTMLElement} root
   * @param {Record<string, () => void>} actions of the overlay's button, by name: retry, fresh, defaults, reload
   */
  constructor(root, actions) {
    this.#root = root;
    this.#part('action').addEventListener('click', () => actions[this.#part('action').dataset.action]?.());
  }

  /** The status that is shown, or null. */
  get kind() {
    return this.#kind;
  }

  /**
   * Shows a status, or none.
   * @param {string | null} kind a key of SAYINGS
   * @param {object} data
   */
  show(kind, data = {}) {
    const changed = kind !== this.#kind;
    this.#kind = kind;
    if (changed) clearTimeout(this.#timer);
    if (kind === null) {
      document.body.dataset.status = '';
      return;
    }
    const [title, text, action] = SAYINGS[kind](data);
    const reveal = () => {
      document.body.dataset.status = kind;
      this.#write(title, text, action);
      this.#progress(kind === 'loading' || kind === 'preparing' ? data : null);
    };
    const covered = document.body.dataset.status !== '';
    if (!covered && PATIENT_MS[kind]) {
      if (changed) this.#timer = setTimeout(reveal, PATIENT_MS[kind]);
    } else {
      reveal();
    }
  }

  /**
   * Runs work that may fail, and shows the error's message as a toast, or `done` after success.
   * @param {() => unknown} work
   * @param {string} done
   */
  async attempt(work, done = '') {
    try {
      await work();
      if (done) this.toast(done);
    } catch (error) {
      this.toast(error instanceof Error ? error.message : String(error));
    }
  }

  /**
   * Shows one line at the bottom for a few seconds.
   * @param {string} text
   */
  toast(text) {
    const line = byId('toast');
    line.textContent = text;
    line.classList.add('on');
    clearTimeout(this.#toastTimer);
    this.#toastTimer = setTimeout(() => line.classList.remove('on'), 2500 + 45 * text.length);
  }

  /**
   * @param {string} name
   * @returns {any}
   */
  #part(name) {
    return this.#root.querySelector(`#overlay-${name}`);
  }

  /**
   * @param {string} title
   * @param {string} text
   * @param {[string, string]} [action]
   */
  #write(title, text, action) {
    setText(this.#part('title'), title);
    setText(this.#part('text'), text);
    const button = this.#part('action');
    button.hidden = !action;
    if (!action) return;
    setText(button, action[0]);
    button.dataset.action = action[1];
  }

  /** @param {{stage?: string, fraction?: number} | null} loading */
  #progress(loading) {
    const bar = this.#part('bar');
    const stage = this.#part('stage');
    bar.hidden = stage.hidden = !loading;
    if (!loading) return;
    const share = Math.max(0, Math.min(1, loading.fraction ?? 0));
    bar.firstElementChild.style.transform = `scaleX(${share})`;
    bar.setAttribute('aria-valuenow', String(Math.round(100 * share)));
    setText(stage, `${loading.stage ?? ''} · ${Math.round(100 * share)} %`);
  }
}

/**
 * Returns the estimated wait, where the server has one.
 * @param {number | null} seconds
 */
function wait(seconds) {
  if (seconds === null || !(seconds > 0)) return '';
  return seconds < 90 ? `, in about ${Math.ceil(seconds / 5) * 5} s` : `, in about ${Math.round(seconds / 60)} minutes`;
}
