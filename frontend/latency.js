/** Key-to-picture time as the visitor feels it: from the key event to the first frame on screen that the key shaped. */

const KEPT = 100;
const GIVE_UP_MS = 10_000;

export class KeyToPicture {
  #pending = [];
  #samples = [];
  #count = 0;

  /** A key that moves went down at `at` (ms of performance.now) and left as message `seq`. */
  pressed(seq, at) {
    this.#pending.push({ seq, at });
    if (this.#pending.length > 32) this.#pending.shift();
  }

  /** A frame of a chunk shaped by messages up to `seq` is on screen since `now`. Returns the new samples in ms. */
  presented(seq, now) {
    const answered = this.#pending.filter((press) => press.seq <= seq);
    if (answered.length === 0) return [];
    this.#pending = this.#pending.filter((press) => press.seq > seq);
    const fresh = answered.map((press) => now - press.at).filter((ms) => ms >= 0 && ms < GIVE_UP_MS);
    this.#count += fresh.length;
    this.#samples = [...this.#samples, ...fresh].slice(-KEPT);
    return fresh;
  }

  /** Forgets presses that will get no fair answer: the tab was hidden, the socket was lost, the dream was paused. */
  forget() {
    this.#pending = [];
  }

  /** All figures in ms; null before the first sample. */
  get stats() {
    const sorted = [...this.#samples].sort((a, b) => a - b);
    const at = (share) => (sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] : null);
    return { count: this.#count, last: this.#samples.at(-1) ?? null, median: at(0.5), p95: at(0.95) };
  }

  /** The newest samples in ms, oldest first. */
  get samples() {
    return [...this.#samples];
  }
}
