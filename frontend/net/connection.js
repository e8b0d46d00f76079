/**
 * The socket to the server: JSON both ways, binary media to the page. It numbers every message, pairs each chunk with
 * its fragment, and after a lost socket comes back by itself with the session's resume token.
 */

const BACKOFF_MS = [250, 500, 1000, 2000, 4000, 8000];
/** Close codes after which trying again by itself would be wrong: the server said no, and will say it again. */
const FINAL_CLOSE = new Set([1008, 4401, 4403]);
/** Server messages that are handed on as they are. */
const HANDED_ON = new Set([
  'loading', 'queue', 'ready', 'state', 'ended', 'error', 'pong', 'history', 'rewinding', 'audience', 'quality', 'limit', 'replay',
]);

export class Connection {
  #url;
  #on;
  #socket = null;
  #joined = false;
  #seq = 0;
  #wanted = null;
  #token = null;
  #pendingChunk = null;
  #attempt = 0;
  #timer = 0;

  /**
   * `on`: handlers by event. Server messages by their `type`, and
   * `init(bytes)`, `chunk(meta, bytes)`, `lost({retryInMs, attempt, code, reason, final})`, `connecting(attempt)`.
   */
  constructor(url, on) {
    this.#url = url;
    this.#on = on;
  }

  /** Number of the newest message sent. */
  get seq() {
    return this.#seq;
  }

  /** What is asked for: the fields of `start`. */
  get wanted() {
    return this.#wanted;
  }

  get open() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** Whether the server has let this page into a session. */
  get joined() {
    return this.#joined && this.open;
  }

  /** Asks for a dream: the fields of `start`; with `token`, for the one it belongs to. On the open socket, or a new one. */
  begin(wanted, token = null) {
    this.#wanted = wanted;
    this.#token = token;
    if (this.open) this.#start();
    else this.retryNow();
  }

  /** What a reconnect asks for where the old session is gone; follows what the visitor chose since. */
  remember(wanted) {
    this.#wanted = { ...this.#wanted, ...wanted };
  }

  /** Asks for the same session in another way, such as for another player. */
  again(changes) {
    this.begin({ ...this.#wanted, ...changes }, this.#token);
  }

  /** Forgets the resume token: the session behind it has ended. */
  forgetSession() {
    this.#token = null;
  }

  /** Sends a message and returns its seq. Outside of a session it is dropped: only the newest state matters. */
  send(type, fields = {}) {
    return this.#joined ? this.#transmit(type, fields) : ++this.#seq;
  }

  #transmit(type, fields) {
    const seq = ++this.#seq;
    if (this.open) this.#socket.send(JSON.stringify({ type, seq, ...fields }));
    return seq;
  }

  /** Connects at once instead of waiting for the backoff. */
  retryNow() {
    clearTimeout(this.#timer);
    this.#drop();
    this.#connect();
  }

  /** Closes for good; no reconnect until `begin` or `retryNow`. */
  close() {
    clearTimeout(this.#timer);
    this.#drop();
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    this.#joined = false;
    this.#pendingChunk = null;
    if (socket) socket.close(1000);
  }

  #connect() {
    this.#on.connecting?.(this.#attempt);
    const socket = new WebSocket(this.#url);
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    socket.addEventListener('open', () => socket === this.#socket && this.#start());
    socket.addEventListener('message', (event) => socket === this.#socket && this.#receive(event.data));
    socket.addEventListener('close', (event) => socket === this.#socket && this.#lost(event));
  }

  #start() {
    this.#pendingChunk = null;
    this.#joined = false;
    this.#transmit('start', this.#token ? { ...this.#wanted, token: this.#token } : this.#wanted);
  }

  #lost(event) {
    this.#socket = null;
    this.#joined = false;
    this.#pendingChunk = null;
    const final = FINAL_CLOSE.has(event.code);
    const base = BACKOFF_MS[Math.min(this.#attempt, BACKOFF_MS.length - 1)];
    const retryInMs = final ? null : Math.round(base * (0.8 + 0.4 * Math.random())); // many pages must not return at once
    this.#attempt += 1;
    if (!final) this.#timer = setTimeout(() => this.#connect(), retryInMs);
    this.#on.lost?.({ retryInMs, attempt: this.#attempt, code: event.code, reason: event.reason, final });
  }

  #receive(data) {
    if (typeof data !== 'string') {
      if (!this.#joined) return; // of the stream before the one that was asked for
      const chunk = this.#pendingChunk;
      this.#pendingChunk = null;
      if (chunk) this.#on.chunk?.(chunk, data);
      else this.#on.init?.(data);
      return;
    }
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      this.#on.error?.({ code: 'bad_reply', message: 'The server sent something that is not JSON; is this really the flashdreams server?' });
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
    if (HANDED_ON.has(message.type)) this.#on[message.type]?.(message); // unknown types are a newer server's business
  }
}
