// @ts-check
/**
 * Key-to-frame latency: from the key event to the first frame on screen that the key shaped, and the stages in between.
 * All times are in ms of the page's clock, so the stages add up to the whole.
 */

/** @typedef {import('../players/factory.js').PlayedChunk} PlayedChunk */
/** @typedef {import('./clock.js').ServerClock} ServerClock */
/** @typedef {'control' | 'generate' | 'encode' | 'network' | 'shown'} Stage */
/** @typedef {Record<Stage, number>} StageTimes Milliseconds of each stage. */

const KEPT = 100;
const GIVE_UP_MS = 10_000;
const PENDING = 32;
/** Stages in the order in which a chunk passes them. @type {readonly Stage[]} */
export const STAGES = Object.freeze(['control', 'generate', 'encode', 'network', 'shown']);

/**
 * Returns the stage times of a chunk, or null while the offset of the server's clock is unknown.
 * @param {PlayedChunk} chunk
 * @param {number} now time at which its first frame was on screen
 * @param {ServerClock} clock
 * @param {number | null} since time of the key event that it answers; null for a chunk that answers none
 * @returns {StageTimes | null}
 */
export function stagesOf(chunk, now, clock, since = null) {
  const controlsRead = clock.toPage(chunk.state_time);
  const handedOver = clock.toPage(chunk.at);
  if (controlsRead === null || handedOver === null) return null;
  // The offset is known to half a round trip: bounds keep every effect after its cause.
  const sent = Math.min(handedOver, chunk.arrived);
  const begun = since ?? controlsRead - (chunk.timings.queue ?? 0);
  const read = Math.min(Math.max(controlsRead, begun), sent);
  const generate = Math.min(chunk.timings.generate ?? 0, sent - read);
  return { control: Math.max(0, read - begun), generate, encode: sent - read - generate, network: chunk.arrived - sent, shown: Math.max(0, now - chunk.arrived) };
}

/**
 * Returns the quantile of some numbers, or null where there are none.
 * @param {number[]} numbers
 * @param {number} share 0 to 1
 */
export function quantile(numbers, share) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] : null;
}

export class KeyLatency {
  /** @type {{seq: number, at: number}[]} */
  #pending = [];
  /** @type {number[]} */
  #samples = [];
  #count = 0;

  /**
   * Notes that a motion key went down.
   * @param {number} seq of the message that reports it
   * @param {number} at time of the key event
   */
  pressed(seq, at) {
    this.#pending.push({ seq, at });
    if (this.#pending.length > PENDING) this.#pending.shift();
  }

  /**
   * Notes that a frame is on screen. Returns the times of the key events that it is the first to answer.
   * @param {number} seq newest message that shaped it
   * @param {number} now
   */
  presented(seq, now) {
    const answered = this.#pending.filter((press) => press.seq <= seq);
    if (answered.length === 0) return [];
    this.#pending = this.#pending.filter((press) => press.seq > seq);
    const counted = answered.map((press) => press.at).filter((at) => now - at >= 0 && now - at < GIVE_UP_MS);
    this.#count += counted.length;
    this.#samples = [...this.#samples, ...counted.map((at) => now - at)].slice(-KEPT);
    return counted;
  }

  /** Drops presses whose latency would say nothing: the tab was hidden, the socket was lost, the session was paused. */
  forget() {
    this.#pending = [];
  }

  /** Latencies in ms; null before the first sample. */
  get stats() {
    return { count: this.#count, last: this.#samples.at(-1) ?? null, median: quantile(this.#samples, 0.5), p95: quantile(this.#samples, 0.95) };
  }

  /** The newest latencies in ms, oldest first. */
  get samples() {
    return [...this.#samples];
  }
}
