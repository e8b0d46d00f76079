// @ts-check
/** Shows decoded frames in a canvas, each at its time; frames that answer an input at once. */

import { LiveEdge } from './live_edge.js';

/** @typedef {import('./factory.js').PlayedChunk} PlayedChunk */
/** @typedef {PlayedChunk & {skip: boolean, begun: boolean}} ScheduledChunk `skip`: show at once; `begun`: its first frame has come. */
/** @typedef {VideoFrame | ImageBitmap} DecodedFrame */

export class Screen {
  /** @type {HTMLCanvasElement} */
  #canvas;
  /** @type {CanvasRenderingContext2D} */
  #context;
  /** @type {Pick<import('./factory.js').PlayerHandlers, 'frame'>} */
  #on;
  #fps = 24;
  #edge = new LiveEdge();
  #rate = 1;
  /** @type {{frame: DecodedFrame, chunk: ScheduledChunk, at: number}[]} */
  #waiting = [];
  #nextAt = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** Chunk of the frame that was drawn and not painted by the browser yet. @type {ScheduledChunk | null} */
  #drawn = null;
  #generation = 0;
  #counts = { skips: 0, frames: 0, dropped: 0 };

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {Pick<import('./factory.js').PlayerHandlers, 'frame'>} on
   */
  constructor(canvas, on) {
    this.#canvas = canvas;
    this.#context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
    this.#on = on;
  }

  /**
   * Starts a new stream; the last frame stays until the new one is there.
   * @param {{fps: number}} format
   */
  open({ fps }) {
    this.clear();
    this.#fps = fps;
    this.#edge = new LiveEdge();
    this.#rate = 1;
    this.#nextAt = 0;
  }

  /**
   * Takes a chunk whose frames follow by `show`.
   * @param {PlayedChunk} chunk
   * @param {boolean} skip
   * @returns {ScheduledChunk}
   */
  arrived(chunk, skip) {
    const slack = Math.max(0, this.#nextAt - performance.now()) / 1000;
    const { rate, late } = this.#edge.arrived(chunk.frames / this.#fps, slack, this.#fps);
    this.#rate = rate;
    return { ...chunk, skip: skip || late, begun: false };
  }

  /**
   * Schedules the next frame of a chunk; closes it once it was drawn.
   * @param {DecodedFrame} frame
   * @param {ScheduledChunk} chunk
   */
  show(frame, chunk) {
    const now = performance.now();
    if (chunk.skip && !chunk.begun) {
      if (this.#waiting.length > 0) this.#counts.skips += 1;
      this.#drop();
      this.#nextAt = now;
    }
    chunk.begun = true;
    const at = Math.max(now, this.#nextAt);
    this.#nextAt = at + 1000 / this.#fps / this.#rate;
    this.#waiting.push({ frame, chunk, at });
    this.#draw();
  }

  /** Jumps to the newest frame. */
  goLive() {
    const last = this.#waiting.pop();
    this.#drop();
    if (!last) return;
    this.#waiting.push({ ...last, at: 0 });
    this.#nextAt = performance.now();
    this.#draw();
  }

  /** Drops the frames that wait, and leaves the last one in place. */
  clear() {
    this.#drop();
    this.#drawn = null;
    this.#generation += 1;
  }

  get stats() {
    return { ...this.#counts, seeks: 0, stalls: 0, trims: 0, rate: this.#rate, slack: Math.max(0, this.#nextAt - performance.now()) / 1000 };
  }

  #drop() {
    clearTimeout(this.#timer);
    this.#counts.dropped += this.#waiting.length;
    for (const { frame } of this.#waiting) frame.close();
    this.#waiting = [];
  }

  #draw() {
    clearTimeout(this.#timer);
    const now = performance.now();
    for (let next = this.#waiting[0]; next && next.at <= now + 1; next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#paint(next.frame, next.chunk);
    }
    if (this.#waiting.length > 0) this.#timer = setTimeout(() => this.#draw(), this.#waiting[0].at - now);
  }

  /**
   * @param {DecodedFrame} frame
   * @param {ScheduledChunk} chunk
   */
  #paint(frame, chunk) {
    const width = 'displayWidth' in frame ? frame.displayWidth : frame.width;
    const height = 'displayHeight' in frame ? frame.displayHeight : frame.height;
    if (this.#canvas.width !== width || this.#canvas.height !== height) Object.assign(this.#canvas, { width, height });
    this.#context.drawImage(frame, 0, 0);
    frame.close();
    const announced = this.#drawn !== null;
    this.#drawn = chunk;
    if (announced) return;
    const generation = this.#generation;
    requestAnimationFrame(() => { // on screen with the browser's next paint, not before
      const shown = this.#drawn;
      this.#drawn = null;
      if (!shown || generation !== this.#generation) return;
      this.#counts.frames += 1;
      this.#on.frame(shown, performance.now());
    });
  }
}
