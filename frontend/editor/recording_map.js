/** A take: the path as it was when it was dreamed, and which chunk shows which part of it. */

import { thumbsSince } from './requests.js';

export class Take {
  /** The path's frames, as sampled. */
  frames;
  /** Scene and seed. */
  where;
  /** The message that asked for it. */
  seq;
  #after;
  #leftAt = null;
  #chunks = [];
  #thumbs = new Map();
  #over = false;
  #offset;

  /** `shot`: the path's `frames`, and `where` they are dreamed; `seq`: the message that asked for it, when chunk `after` was the newest; `before`: the take that it goes on from, up to its chunk `last`. */
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

  /** Whether nothing more comes of it. */
  get over() {
    return this.#over;
  }

  /** Whether all of it is dreamed. */
  get whole() {
    return this.covered >= this.frames.length;
  }

  /** How many frames of it are dreamed. */
  get covered() {
    const last = this.#chunks.at(-1);
    return last ? Math.min(this.frames.length, last.from + last.frames) : 0;
  }

  /** Index of its newest chunk, or null. */
  get newest() {
    return this.#chunks.at(-1)?.index ?? null;
  }

  /** The visitor took over with message `seq`: what that shapes is not of the take. */
  leave(seq) {
    this.#leftAt ??= seq;
  }

  /** A chunk has come; whether it is of this take. */
  took(chunk) {
    if (this.#over) return false;
    if (chunk.index === this.newest) return true; // once more, for a new connection
    const parent = this.#chunks.at(-1)?.index ?? -1;
    if (this.#chunks.length === this.#offset) {
      // A new connection counts its messages anew; what comes over it may be of the take although its seq is 0.
      const asked = chunk.seq >= this.seq || chunk.seq === 0;
      if (!asked || chunk.index <= this.#after || chunk.parent !== parent) return false; // still of what was before
    }
    if (chunk.parent !== parent || (this.#leftAt !== null && chunk.seq >= this.#leftAt)) {
      this.#over = true;
      return false;
    }
    this.#chunks.push({ index: chunk.index, from: this.covered, frames: chunk.frames });
    this.#over = this.whole;
    return true;
  }

  /** It was stopped. */
  end() {
    this.#over = true;
  }

  /** The chunk that shows a frame: `{index, from, frames}`, or null. */
  chunkAt(frame) {
    return this.#chunks.find(({ from, frames }) => frame >= from && frame < from + frames) ?? null;
  }

  /** The frame on screen while chunk `index` is: its last. Null for a chunk of another dream. */
  frameOf(index) {
    const chunk = this.#chunks.find((one) => one.index === index);
    return chunk ? Math.min(this.frames.length, chunk.from + chunk.frames) - 1 : null;
  }

  /** How many of `frames` are those that were dreamed, from the first on. */
  sharedWith(frames) {
    const most = Math.min(this.covered, frames.length);
    for (let i = 0; i < most; i += 1) {
      if (frames[i].some((value, part) => value !== this.frames[i][part])) return i;
    }
    return most;
  }

  /** A picture of the chunk that shows a frame, or of the one before; null before the first is known. */
  thumbAt(frame) {
    const at = this.#chunks.findLastIndex(({ from }) => from <= frame);
    for (let i = at; i >= 0; i -= 1) if (this.#thumbs.has(this.#chunks[i].index)) return this.#thumbs.get(this.#chunks[i].index);
    return null;
  }

  /** Asks the server for the pictures that are not known yet. */
  async fetchThumbs(token) {
    const missing = this.#chunks.find(({ index }) => !this.#thumbs.has(index));
    if (!missing) return;
    for (const { index, thumb } of await thumbsSince(token, missing.index - 1)) if (thumb) this.#thumbs.set(index, thumb);
  }
}
