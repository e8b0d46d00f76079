/**
 * Key-to-picture time as the visitor feels it, from the key event to the first frame on screen that the key shaped; and
 * the stages of that way. Everything is in ms on the page's clock, so the stages add up to the whole.
 */

const KEPT = 100;
const GIVE_UP_MS = 10_000;
/** In the order in which a chunk goes through them. */
export const STAGES = Object.freeze(['control', 'generate', 'encode', 'network', 'shown']);

/**
 * The stages of a chunk whose first frame is on screen since `now`. `since`: when its key went down, or null for a chunk
 * that answers none; it then begins where the engine was asked. Null where the server's clock is not known yet.
 */
export function stagesOf(chunk, now, clock, since = null) {
  const told = clock.toPage(chunk.state_time);
  if (told === null || chunk.at === undefined || chunk.arrived === undefined) return null;
  // The server's clock is known to half a round trip: nothing may seem to happen before its cause.
  const sent = Math.min(clock.toPage(chunk.at), chunk.arrived);
  const begun = since ?? told - (chunk.timings.queue ?? 0);
  const read = Math.min(Math.max(told, begun), sent);
  const generate = Math.min(chunk.timings.generate ?? 0, sent - read);
  return { control: Math.max(0, read - begun), generate, encode: sent - read - generate, network: chunk.arrived - sent, shown: Math.max(0, now - chunk.arrived) };
}

/** The value below which `share` of the numbers are, or null where there are none. */
export function quantile(numbers, share) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] : null;
}

export class KeyToPicture {
  #pending = [];
  #samples = [];
  #count = 0;

  /** A key that moves went down at `at` (ms of performance.now) and left as message `seq`. */
  pressed(seq, at) {
    this.#pending.push({ seq, at });
    if (this.#pending.length > 32) this.#pending.shift();
  }

  /** A frame of a chunk shaped by messages up to `seq` is on screen since `now`. Returns when the keys that it answers first went down. */
  presented(seq, now) {
    const answered = this.#pending.filter((press) => press.seq <= seq);
    if (answered.length === 0) return [];
    this.#pending = this.#pending.filter((press) => press.seq > seq);
    const fair = answered.map((press) => press.at).filter((at) => now - at >= 0 && now - at < GIVE_UP_MS);
    this.#count += fair.length;
    this.#samples = [...this.#samples, ...fair.map((at) => now - at)].slice(-KEPT);
    return fair;
  }

  /** Forgets presses that will get no fair answer: the tab was hidden, the socket was lost, the dream was paused. */
  forget() {
    this.#pending = [];
  }

  /** All figures in ms; null before the first sample. */
  get stats() {
    return { count: this.#count, last: this.#samples.at(-1) ?? null, median: quantile(this.#samples, 0.5), p95: quantile(this.#samples, 0.95) };
  }

  /** The newest samples in ms, oldest first. */
  get samples() {
    return [...this.#samples];
  }
}
