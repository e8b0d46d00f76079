// @ts-check
/** Offset between the server's clock and the page's, estimated from ping and pong as NTP does. */

const KEPT = 8;

export class ServerClock {
  /** @type {Map<number, number>} */
  #sent = new Map();
  /** @type {{trip: number, offset: number}[]} */
  #readings = [];

  /** Forgets everything: the clock of another session starts at zero. */
  forget() {
    this.#sent.clear();
    this.#readings = [];
  }

  /**
   * Notes that a ping was sent now.
   * @param {number} seq
   */
  asked(seq) {
    this.#sent.set(seq, performance.now());
    const [oldest] = this.#sent.keys();
    if (this.#sent.size > KEPT) this.#sent.delete(oldest);
  }

  /**
   * Takes the pong: the server's `time` in seconds when it read message `seq`.
   * @param {import('./messages.d.ts').ServerMessages['pong']} pong
   */
  answered({ seq, time }) {
    const sent = this.#sent.get(seq);
    if (sent === undefined) return;
    this.#sent.delete(seq);
    const now = performance.now();
    this.#readings = [...this.#readings, { trip: now - sent, offset: (sent + now) / 2 - 1000 * time }].slice(-KEPT);
  }

  /** Shortest recent round trip in ms, or null. */
  get trip() {
    return this.#best?.trip ?? null;
  }

  /**
   * Converts a time of the server to ms of `performance.now()`; null before the first pong.
   * @param {number} seconds
   */
  toPage(seconds) {
    return this.#best ? 1000 * seconds + this.#best.offset : null;
  }

  /** The reading with the shortest round trip, whose error is at most half of it. */
  get #best() {
    return this.#readings.length > 0 ? this.#readings.reduce((best, one) => (one.trip < best.trip ? one : best)) : null;
  }
}
