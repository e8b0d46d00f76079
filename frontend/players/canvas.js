// @ts-check
/** Base of the players that draw decoded frames into the stage's canvas. */

import { Screen } from './screen.js';

/** @typedef {import('./factory.js').PlayerHandlers} PlayerHandlers */

export class CanvasPlayer {
  /** @type {HTMLCanvasElement} */
  #canvas;

  /**
   * @param {HTMLElement} stage
   * @param {PlayerHandlers} on
   */
  constructor(stage, on) {
    this.#canvas = /** @type {HTMLCanvasElement} */ (stage.querySelector('canvas'));
    this.on = on;
    this.screen = new Screen(this.#canvas, on);
  }

  /** Ignores the init segment: `open` got the format. */
  init() {}

  /** Jumps to the newest frame: after a hidden tab or a pause. */
  goLive() {
    this.screen.goLive();
  }

  /** Does nothing: a canvas keeps its frame. */
  holdFrame() {}

  get frameSource() {
    return this.#canvas;
  }

  /** @returns {Record<string, number>} */
  get stats() {
    return this.screen.stats;
  }

  close() {
    this.screen.clear();
  }

  /**
   * Stops until a new stream is opened.
   * @param {unknown} error
   */
  fail(error) {
    this.close();
    this.on.failed(error instanceof Error ? error.message : String(error));
  }
}

/**
 * Returns a view of each frame in a chunk's binary message: they are its last bytes, one after the other. Raises
 * RangeError if they do not fit.
 * @param {ArrayBuffer} bytes
 * @param {number[]} sizes bytes of each frame
 */
export function framesOf(bytes, sizes) {
  let from = bytes.byteLength - sizes.reduce((sum, size) => sum + size, 0);
  if (from < 0) throw new RangeError(`the frames are said to have ${bytes.byteLength - from} bytes, the message has ${bytes.byteLength}`);
  return sizes.map((size) => {
    const frame = new Uint8Array(bytes, from, size);
    from += size;
    return frame;
  });
}
