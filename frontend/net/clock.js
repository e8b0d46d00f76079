/** The server's clock on the page's: what lets one clock tell how long a chunk took on its way. */

const KEPT = 8;

export class ServerClock {
  #asked = new Map();
  #readings = [];

  /** A new session counts its seconds anew. */
  forget() {
    this.#asked.clear();
    this.#readings = [];
  }

  /** Message `seq` asked for the time just now. */
  asked(seq) {
    this.#asked.set(seq, performance.now());
    if (this.#asked.size > KEPT) this.#asked.delete(this.#asked.keys().next().value);
  }

  /** The server's answer: its `time` in seconds at reading message `seq`. */
  answered({ seq, time }) {
    const sent = this.#asked.get(seq);
    if (sent === undefined) return;
    this.#asked.delete(seq);
    const now = performance.now();
    this.#readings = [...this.#readings, { trip: now - sent, offset: (sent + now) / 2 - 1000 * time }].slice(-KEPT);
  }

  /** The shortest round trip lately in ms, or null. */
  get trip() {
    return this.#best?.trip ?? null;
  }

  /** When it was `seconds` on the server, in ms of performance.now(); null before the first answer. */
  toPage(seconds) {
    return this.#best ? 1000 * seconds + this.#best.offset : null;
  }

  /** The reading with the shortest round trip is wrong by the least: at most half of it. */
  get #best() {
    return this.#readings.reduce((best, one) => (best === null || one.trip < best.trip ? one : best), null);
  }
}
