/** What has come and what it took, lately: stages of the newest chunks, bytes a second, chunks waiting to be shown. */

import { stagesOf } from './latency.js';

const KEPT = 60;
const RATE_OVER_MS = 3000;

export class Flow {
  #chunks = [];
  #bytes = [];
  #newest = -1;
  #shown = -1;
  #frames = 0;

  /** A new stream. */
  forget() {
    this.#bytes = [];
    this.#newest = this.#shown = -1;
  }

  /** A chunk has arrived. */
  arrived(chunk) {
    this.#newest = chunk.index;
    this.#frames += chunk.frames;
    const since = chunk.arrived - RATE_OVER_MS;
    this.#bytes = [...this.#bytes.filter(({ at }) => at > since), { at: chunk.arrived, size: chunk.bytes }];
  }

  /** The first frame of a chunk is on screen since `now`; `pressed`: when the key that it answers went down, or null. */
  shown(chunk, now, clock, pressed) {
    this.#shown = chunk.index;
    const stages = stagesOf(chunk, now, clock, pressed);
    if (stages) this.#chunks = [...this.#chunks, { index: chunk.index, answers: pressed !== null, ...stages }].slice(-KEPT);
  }

  /** The newest chunks shown, oldest first: `{index, answers, control, generate, encode, network, shown}` in ms. */
  get chunks() {
    return [...this.#chunks];
  }

  /** Chunks that have arrived and are not on screen yet. */
  get waiting() {
    return Math.max(0, this.#newest - this.#shown);
  }

  /** Frames that have come, of all streams. */
  get frames() {
    return this.#frames;
  }

  /** Thousands of bits a second that came lately. */
  get kbps() {
    const now = performance.now();
    const lately = this.#bytes.filter(({ at }) => at > now - RATE_OVER_MS);
    return (8 * lately.reduce((sum, { size }) => sum + size, 0)) / RATE_OVER_MS;
  }
}
