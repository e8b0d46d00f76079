// @ts-check
/** Maps the frames of a camera path, as it was when it was followed, to the chunks that show them. */

import { thumbsSince } from './requests.js';

/** @typedef {{index: number, from: number, frames: number}} MappedChunk A chunk, and the frames of the path that it shows. */
/** @typedef {{frames: number[][], where: string, after: number}} FollowedPath Sampled frames, scene and seed, newest chunk when it was asked for. */

export class RecordingMap {
  /** The path's frames, as sampled. @type {number[][]} */
  frames;
  /** Scene and seed. @type {string} */
  where;
  /** The message that asked for it. @type {number} */
  seq;
  /** @type {number} */
  #after;
  /** @type {number | null} */
  #leftAt = null;
  /** @type {MappedChunk[]} */
  #chunks = [];
  /** Thumbnails by chunk. @type {Map<number, string>} */
  #thumbs = new Map();
  #over = false;
  /** @type {number} */
  #offset;

  /**
   * @param {FollowedPath} path
   * @param {number} seq message that asked for it
   * @param {RecordingMap | null} before the one that it continues
   * @param {number | null} last newest chunk of `before` to keep
   */
  constructor({ frames, where, after }, seq, before = null, last = null) {
    this.frames = frames;
    this.where = where;
    this.seq = seq;
    this.#after = after;
    if (before) {
      this.#chunks = before.#chunks.slice(0, before.#chunks.findIndex(({ index }) => index === last) + 1);
      this.#thumbs = before.#thumbs;
    }
    this.#offset = this.#chunks.length;
  }

  /** True if no further chunk belongs to it. */
  get over() {
    return this.#over;
  }

  /** True if all frames are generated. */
  get whole() {
    return this.covered >= this.frames.length;
  }

  /** Number of frames generated. */
  get covered() {
    const last = this.#chunks.at(-1);
    return last ? Math.min(this.frames.length, last.from + last.frames) : 0;
  }

  /** Index of its newest chunk, or null. */
  get newest() {
    return this.#chunks.at(-1)?.index ?? null;
  }

  /**
   * The visitor took over: chunks shaped by that message do not belong to it.
   * @param {number} seq
   */
  leave(seq) {
    this.#leftAt ??= seq;
  }

  /**
   * Adds a received chunk. Returns true if it belongs to the path.
   * @param {import('../players/factory.js').PlayedChunk} chunk
   */
  took(chunk) {
    if (this.#over) return false;
    if (chunk.index === this.newest) return true; // repeated for a new connection
    const parent = this.#chunks.at(-1)?.index ?? -1;
    if (this.#chunks.length === this.#offset) {
      // A new connection counts its messages from 0: a chunk of the path may have seq 0.
      const asked = chunk.seq >= this.seq || chunk.seq === 0;
      if (!asked || chunk.index <= this.#after || chunk.parent !== parent) return false; // of the rollout before
    }
    if (chunk.parent !== parent || (this.#leftAt !== null && chunk.seq >= this.#leftAt)) {
      this.#over = true;
      return false;
    }
    this.#chunks.push({ index: chunk.index, from: this.covered, frames: chunk.frames });
    this.#over = this.whole;
    return true;
  }

  /** Ends it early. */
  end() {
    this.#over = true;
  }

  /**
   * Returns the chunk that shows a frame, or null.
   * @param {number} frame
   */
  chunkAt(frame) {
    return this.#chunks.find(({ from, frames }) => frame >= from && frame < from + frames) ?? null;
  }

  /**
   * Returns the last frame of a chunk, or null for a chunk of another rollout.
   * @param {number} index
   */
  frameOf(index) {
    const chunk = this.#chunks.find((one) => one.index === index);
    return chunk ? Math.min(this.frames.length, chunk.from + chunk.frames) - 1 : null;
  }

  /**
   * Returns how many frames, from the first on, equal those that were generated.
   * @param {number[][]} frames
   */
  sharedWith(frames) {
    const most = Math.min(this.covered, frames.length);
    for (let i = 0; i < most; i += 1) {
      if (frames[i].some((value, part) => value !== this.frames[i][part])) return i;
    }
    return most;
  }

  /**
   * Returns a thumbnail of the chunk that shows a frame, or of an earlier one; null before the first.
   * @param {number} frame
   */
  thumbAt(frame) {
    const at = this.#chunks.findLastIndex(({ from }) => from <= frame);
    for (let i = at; i >= 0; i -= 1) if (this.#thumbs.has(this.#chunks[i].index)) return this.#thumbs.get(this.#chunks[i].index) ?? null;
    return null;
  }

  /**
   * Requests the missing thumbnails.
   * @param {string} token
   */
  async fetchThumbs(token) {
    const missing = this.#chunks.find(({ index }) => !this.#thumbs.has(index));
    if (!missing) return;
    for (const { index, thumb } of await thumbsSince(token, missing.index - 1)) if (thumb) this.#thumbs.set(index, thumb);
  }
}
