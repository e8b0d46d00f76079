/** What the page says while there is no picture to play: what happens, and what the visitor can do. */

const REASONS = {
  idle: ['The dream has faded', 'Nobody pressed a key for a while, so its place was given back.'],
  failed: ['This dream broke off', 'The model stumbled on it. Others are not affected, and a new one starts clean.'],
  taken_over: ['The dream goes on elsewhere', 'It was opened in another tab or window, which plays it now.'],
  time: ['Your time is up', 'Every visit here has a limit, so that others get their turn.'],
  left: ['The dream you watched has ended', 'Whoever walked in it has left. You can dream one of your own.'],
  shutdown: ['The server is stopping', 'It was asked to shut down. Start it again, then dream on.'],
};

/** Title, text, and optionally a button `[label, action]`, for each status. */
const SAYINGS = {
  connecting: () => ['Reaching the server', ''],
  loading: () => ['Waking the dreamer', 'The model is being loaded. This happens once, when the server starts.'],
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
    'The server answers, but no WebSocket to it opens. A proxy on the way must let WebSockets through, or use the server’s own address.',
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

/** These cover the picture only after a moment, so that a quick answer does not flash. */
const PATIENT_MS = { connecting: 500, starting: 700, reconnecting: 350 };

export class Overlay {
  #root;
  #onAction;
  #timer = 0;
  #kind = null;
  #toastTimer = 0;

  /** `onAction(name)`: the visitor pressed the overlay's button: retry, fresh, defaults or reload. */
  constructor(root, onAction) {
    this.#root = root;
    this.#onAction = onAction;
    this.#part('action').addEventListener('click', (event) => onAction(event.currentTarget.dataset.action));
  }

  /** The status that is said now, or null. */
  get kind() {
    return this.#kind;
  }

  /** Says `kind` (a key of the sayings, or null for nothing), with its data. */
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
      this.#progress(kind === 'loading' ? data : null);
    };
    const covered = document.body.dataset.status !== '';
    if (!covered && PATIENT_MS[kind]) {
      if (changed) this.#timer = setTimeout(reveal, PATIENT_MS[kind]);
    } else {
      reveal();
    }
  }

  /** One line at the bottom for a few seconds. */
  toast(text) {
    const line = document.getElementById('toast');
    line.textContent = text;
    line.classList.add('on');
    clearTimeout(this.#toastTimer);
    this.#toastTimer = setTimeout(() => line.classList.remove('on'), 2500 + 45 * text.length);
  }

  #part(name) {
    return this.#root.querySelector(`#overlay-${name}`);
  }

  #write(title, text, action) {
    setText(this.#part('title'), title);
    setText(this.#part('text'), text);
    const button = this.#part('action');
    button.hidden = !action;
    if (!action) return;
    setText(button, action[0]);
    button.dataset.action = action[1];
  }

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

/** How long it may take, where the server can tell. */
function wait(seconds) {
  if (!(seconds > 0)) return '';
  return seconds < 90 ? `, in about ${Math.ceil(seconds / 5) * 5} s` : `, in about ${Math.round(seconds / 60)} minutes`;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text; // screen readers repeat what is written again
}
