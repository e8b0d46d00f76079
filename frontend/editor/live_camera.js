// @ts-check
/** The session's camera as the editor draws it: moves from the last pose of one chunk to that of the next. */

import { between, poseOf } from './geometry.js';

/** @typedef {import('./geometry.js').Pose} Pose */

export class LiveCamera {
  /** @type {Pose | null} */
  #from = null;
  /** @type {Pose | null} */
  #to = null;
  /** @type {Pose | null} */
  #now = null;
  #at = 0;
  #ms = 1;

  /** The pose that is drawn, or null. */
  get now() {
    return this.#now;
  }

  /** The newest chunk's last pose, or null. */
  get newest() {
    return this.#to;
  }

  /**
   * Stands at a pose, unless a chunk was received.
   * @param {Pose} pose
   */
  place(pose) {
    if (this.#now === null) this.#from = this.#to = this.#now = pose;
  }

  /**
   * Moves on to a received chunk's pose.
   * @param {import('../players/factory.js').PlayedChunk} chunk
   * @param {number} fps
   */
  arrived(chunk, fps) {
    this.#to = poseOf(chunk.pose);
    this.#from = this.#now ?? this.#to;
    this.#now = this.#from;
    this.#at = performance.now();
    this.#ms = (1000 * chunk.frames) / fps;
  }

  /**
   * Moves the drawn pose. Returns true while it still moves.
   * @param {number} now
   */
  advance(now) {
    if (!this.#from || !this.#to) return false;
    const share = Math.min(1, Math.max(0, (now - this.#at) / this.#ms));
    this.#now = between(this.#from, this.#to, share);
    return share < 1;
  }
}
