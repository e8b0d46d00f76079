// @ts-check
/**
 * The WebSocket to the server: JSON both ways, binary media to the page. It numbers every message, pairs each chunk with
 * its fragment, notices when the network is dead, and reconnects by itself with the session's resume token.
 */

/** @typedef {import('./messages.d.ts').ServerMessages} ServerMessages */
/** @typedef {import('./messages.d.ts').ClientMessages} ClientMessages */
/** @typedef {{seq: number, type: string}} Envelope Fields that `send` adds by itself. */
/** @typedef {Omit<ClientMessages['start'], keyof Envelope>} StartFields */
/** @typedef {{retryInMs: number | null, attempt: number, code: number, reason: string, final: boolean, silent: boolean}} Loss */
/**
 * Handlers by event: server messages by their `type`, and the events of the connection itself.
 * @typedef {{[T in keyof ServerMessages]?: (message: ServerMessages[T]) => void} & {
 *   init?: (bytes: ArrayBuffer) => void, fragment?: (chunk: ServerMessages['chunk'], bytes: ArrayBuffer) => void,
 *   lost?: (loss: Loss) => void, connecting?: (attempt: number) => void,
 * }} Handlers
 */

const BACKOFF_MS = [250, 500, 1000, 2000, 4000, 8000];
/** Close codes after which a retry would be refused again. */
const FINAL_CLOSE = new Set([1008, 4401, 4403]);
const CHECK_EVERY_MS = 250;
/** Silence after a ping that counts as a lost connection. */
const SILENCE_MS = 5000;
/** Longest wait for the answer to the handshake. */
const OPEN_MS = 8000;
/** Longest silence after `start`: a model may take its time, but says so. */
const START_MS = 30_000;

/**
 * Returns the address of the server's socket, below the page's own path.
 * @param {string} search
 */
export function socketAddress(search = '') {
  const address = new URL('ws/play', document.baseURI);
  address.protocol = address.protocol === 'https:' ? 'wss:' : 'ws:';
  address.search = search;
  address.hash = '';
  return address;
}

export class Connection {
  /** @type {URL} */
  #url;
  /** @type {Handlers} */
  #on;
  /** @type {WebSocket | null} */
  #socket = null;
  #joined = false;
  #seq = 0;
  /** @type {StartFields} */
  #wanted = {};
  /** @type {string | null} */
  #token = null;
  /** @type {ServerMessages['chunk'] | null} */
  #pendingChunk = null;
  #attempt = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retryTimer;
  #replyDue = false;
  #silentMs = 0;
  #checkedAt = 0;

  /**
   * @param {URL} url
   * @param {Handlers} on
   */
  constructor(url, on) {
    this.#url = url;
    this.#on = on;
    setInterval(() => this.#checkSilence(), CHECK_EVERY_MS);
    window.addEventListener('online', () => this.#networkIsBack());
  }

  /** Number of the newest message sent. */
  get seq() {
    return this.#seq;
  }

  /** Fields of `start` that a reconnect sends. */
  get wanted() {
    return this.#wanted;
  }

  get open() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** True once the server has answered `start` with `ready`. */
  get joined() {
    return this.#joined && this.open;
  }

  /**
   * Sends `start`; with `token`, resumes that session. Uses the open socket, or opens one.
   * @param {StartFields} wanted
   * @param {string | null} token
   */
  begin(wanted, token = null) {
    this.#wanted = wanted;
    this.#token = token;
    if (this.open) this.#start();
    else this.retryNow();
  }

  /**
   * Changes the fields of `start` that a reconnect sends when the old session is gone.
   * @param {Partial<StartFields>} wanted
   */
  remember(wanted) {
    this.#wanted = { ...this.#wanted, ...wanted };
  }

  /**
   * Starts the same session again with other fields, such as another player.
   * @param {Partial<StartFields>} changes
   */
  again(changes) {
    this.begin({ ...this.#wanted, ...changes }, this.#token);
  }

  /** Forgets the resume token of a session that has ended. */
  forgetSession() {
    this.#token = null;
  }

  /**
   * Sends a message and returns its `seq`. Before `ready` the message is dropped: only the newest state matters.
   * @template {keyof ClientMessages} T
   * @param {T} type
   * @param {Partial<Omit<ClientMessages[T], keyof Envelope>>} fields
   */
  send(type, fields = {}) {
    return this.#joined ? this.#transmit(type, fields) : ++this.#seq;
  }

  /** Sends a ping; a connection that stays silent after it counts as lost. Returns its `seq`. */
  ping() {
    if (!this.#replyDue) this.#silentMs = 0;
    this.#replyDue = this.joined;
    return this.send('ping');
  }

  /**
   * @param {string} type
   * @param {object} fields
   */
  #transmit(type, fields) {
    const seq = ++this.#seq;
    if (this.open) this.#socket?.send(JSON.stringify({ type, seq, ...fields }));
    return seq;
  }

  /** Connects at once instead of waiting for the backoff. */
  retryNow() {
    this.#stopRetrying();
    this.#drop();
    this.#connect();
  }

  /** Closes the connection; it stays closed until `begin` or `retryNow`. */
  close() {
    this.#stopRetrying();
    this.#drop();
  }

  #stopRetrying() {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = undefined;
  }

  #drop() {
    const socket = this.#socket;
    this.#forgetSocket();
    socket?.close(1000);
  }

  #forgetSocket() {
    this.#socket = null;
    this.#joined = false;
    this.#pendingChunk = null;
    this.#heard();
  }

  /** Something came from the server, or nothing is due any more. */
  #heard() {
    this.#replyDue = false;
    this.#silentMs = 0;
  }

  #connect() {
    this.#on.connecting?.(this.#attempt);
    this.#heard();
    const socket = new WebSocket(this.#url);
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    socket.addEventListener('open', () => socket === this.#socket && this.#start());
    socket.addEventListener('message', (event) => socket === this.#socket && this.#receive(event.data));
    socket.addEventListener('close', (event) => socket === this.#socket && this.#lost(event));
  }

  #start() {
    this.#heard();
    this.#replyDue = true;
    this.#pendingChunk = null;
    this.#joined = false;
    this.#transmit('start', this.#token ? { ...this.#wanted, token: this.#token } : this.#wanted);
  }

  /**
   * @param {{code: number, reason: string}} event
   * @param {boolean} silent true where no close frame came: the network is dead
   */
  #lost({ code, reason }, silent = false) {
    this.#forgetSocket();
    const final = FINAL_CLOSE.has(code);
    const base = BACKOFF_MS[Math.min(this.#attempt, BACKOFF_MS.length - 1)];
    const retryInMs = final ? null : Math.round(base * (0.8 + 0.4 * Math.random())); // many pages must not return at once
    this.#attempt += 1;
    this.#stopRetrying();
    if (retryInMs !== null) this.#retryTimer = setTimeout(() => this.#connect(), retryInMs);
    this.#on.lost?.({ retryInMs, attempt: this.#attempt, code, reason, final, silent });
  }

  /** Gives up a socket that opens never or answers nothing: after sleep or a lost NAT entry no close event ever comes. */
  #checkSilence() {
    const now = performance.now();
    // A page that stood still has read nothing: messages may wait for it, so a gap counts as one step only.
    const step = Math.min(now - this.#checkedAt, 2 * CHECK_EVERY_MS);
    this.#checkedAt = now;
    const socket = this.#socket;
    const opening = socket?.readyState === WebSocket.CONNECTING;
    if (!socket || document.hidden || !(opening || this.#replyDue)) return;
    this.#silentMs += step;
    if (this.#silentMs < (opening ? OPEN_MS : this.#joined ? SILENCE_MS : START_MS)) return;
    this.#lost({ code: 1006, reason: '' }, true);
    socket.close();
  }

  #networkIsBack() {
    if (this.joined) this.ping();
    else if (this.#retryTimer !== undefined && !this.open) this.retryNow();
  }

  /** @param {string | ArrayBuffer} data */
  #receive(data) {
    this.#heard();
    if (typeof data !== 'string') {
      if (!this.#joined) return; // of the stream before the one that was asked for
      const chunk = this.#pendingChunk;
      this.#pendingChunk = null;
      if (chunk) this.#on.fragment?.(chunk, data);
      else this.#on.init?.(data);
      return;
    }
    /** @type {ServerMessages[keyof ServerMessages]} */
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      this.#on.error?.({ type: 'error', code: 'bad_message', message: 'The server sent something that is not JSON; is this really the flashdreams server?', seq: null });
      return;
    }
    if (message.type === 'chunk') {
      this.#pendingChunk = message;
      return;
    }
    if (message.type === 'ready') {
      this.#joined = true;
      this.#token = message.token || null;
      this.#attempt = 0;
    }
    const handler = /** @type {((message: object) => void) | undefined} */ (this.#on[message.type]);
    handler?.(message); // a type without a handler is of a newer server
  }
}
