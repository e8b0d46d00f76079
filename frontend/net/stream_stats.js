// @ts-check
/** Statistics of recent chunks: stage times, bitrate, chunks waiting to be shown. */

import { stagesOf } from './latency.js';

/** @typedef {import('../players/factory.js').PlayedChunk} PlayedChunk */
/** @typedef {import('./latency.js').StageTimes & {index: number, answers: boolean}} ChunkTimes Times of a chunk; `answers`: it answers a key. */

const KEPT = 60;
const RATE_OVER_MS = 3000;

export class StreamStats {
  /** @type {ChunkTimes[]} */
  #chunks = [];
  /** @type {{at: number, size: number}[]} */
  #bytes = [];
  #newest = -1;
  #shown = -1;
  #frames = 0;

  /** Resets what counts for one stream. */
  forget() {
    this.#bytes = [];
    this.#newest = this.#shown = -1;
  }

  /** @param {PlayedChunk} chunk */
  arrived(chunk) {
    this.#newest = chunk.index;
    this.#frames += chunk.frames;
    const since = chunk.arrived - RATE_OVER_MS;
    this.#bytes = [...this.#bytes.filter(({ at }) => at > since), { at: chunk.arrived, size: chunk.bytes }];
  }

  /**
   * Notes that the first frame of a chunk is on screen.
   * @param {PlayedChunk} chunk
   * @param {number} now
   * @param {import('./clock.js').ServerClock} clock
   * @param {number | null} pressed time of the key event that it answers
   */
  shown(chunk, now, clock, pressed) {
    this.#shown = chunk.index;
    const stages = stagesOf(chunk, now, clock, pressed);
    if (stages) this.#chunks = [...this.#chunks, { index: chunk.index, answers: pressed !== null, ...stages }].slice(-KEPT);
  }

  /** Times of the newest chunks shown, oldest first. */
  get chunks() {
    return [...this.#chunks];
  }

  /** Number of chunks received and not on screen yet. */
  get waiting() {
    return Math.max(0, this.#newest - this.#shown);
  }

  /** Number of frames received, of all streams. */
  get frames() {
    return this.#frames;
  }

  /** Bitrate of the last seconds in kbit/s. */
  get kbps() {
    const now = performance.now();
    const recent = this.#bytes.filter(({ at }) => at > now - RATE_OVER_MS);
    return (8 * recent.reduce((sum, { size }) => sum + size, 0)) / RATE_OVER_MS;
  }
}
