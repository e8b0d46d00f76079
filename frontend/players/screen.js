/** Shows decoded pictures in a canvas, each at its time, newest answers at once. The players without a video element draw here. */

import { LiveEdge } from './live_edge.js';

export class Screen {
  #canvas;
  #context;
  #on;
  #fps = 24;
  #edge = new LiveEdge();
  #rate = 1;
  #waiting = [];
  #nextAt = 0;
  #timer = 0;
  #fresh = null;
  #generation = 0;
  #counts = { skips: 0, frames: 0, dropped: 0 };

  /** `canvas` gets the pictures; `on.frame(chunk, now)` when one is on screen. */
  constructor(canvas, on) {
    this.#canvas = canvas;
    this.#context = canvas.getContext('2d');
    this.#on = on;
  }

  /** A new stream of `{width, height, fps}`; the last picture stays until the new one is there. */
  open({ fps }) {
    this.clear();
    this.#fps = fps;
    this.#edge = new LiveEdge();
    this.#rate = 1;
    this.#nextAt = 0;
  }

  /** A chunk has come; its pictures follow. Returns it as `show` wants it. */
  arrived(chunk, skip) {
    const slack = Math.max(0, this.#nextAt - performance.now()) / 1000;
    const { rate, late } = this.#edge.arrived(chunk.frames / this.#fps, slack, this.#fps);
    this.#rate = rate;
    return { ...chunk, skip: skip || late, begun: false };
  }

  /** The next picture of `chunk` (from `arrived`), in order; it is closed once it was drawn. */
  show(picture, chunk) {
    const now = performance.now();
    if (chunk.skip && !chunk.begun) {
      if (this.#waiting.length > 0) this.#counts.skips += 1;
      this.#drop();
      this.#nextAt = now;
    }
    chunk.begun = true;
    const at = Math.max(now, this.#nextAt);
    this.#nextAt = at + 1000 / this.#fps / this.#rate;
    this.#waiting.push({ picture, chunk, at });
    this.#draw();
  }

  /** Jumps to the newest picture. */
  goLive() {
    const last = this.#waiting.pop();
    this.#drop();
    if (!last) return;
    this.#waiting.push({ ...last, at: 0 });
    this.#nextAt = performance.now();
    this.#draw();
  }

  /** Forgets what waits to be shown, and leaves the last picture in place. */
  clear() {
    this.#drop();
    this.#fresh = null;
    this.#generation += 1;
  }

  get stats() {
    return { ...this.#counts, seeks: 0, stalls: 0, trims: 0, rate: this.#rate, slack: Math.max(0, this.#nextAt - performance.now()) / 1000 };
  }

  #drop() {
    clearTimeout(this.#timer);
    this.#counts.dropped += this.#waiting.length;
    for (const { picture } of this.#waiting) picture.close();
    this.#waiting = [];
  }

  #draw() {
    clearTimeout(this.#timer);
    const now = performance.now();
    while (this.#waiting.length > 0 && this.#waiting[0].at <= now + 1) this.#paint(this.#waiting.shift());
    if (this.#waiting.length > 0) this.#timer = setTimeout(() => this.#draw(), this.#waiting[0].at - now);
  }

  #paint({ picture, chunk }) {
    const width = picture.displayWidth ?? picture.width;
    const height = picture.displayHeight ?? picture.height;
    if (this.#canvas.width !== width || this.#canvas.height !== height) Object.assign(this.#canvas, { width, height });
    this.#context.drawImage(picture, 0, 0);
    picture.close();
    const announced = this.#fresh !== null;
    this.#fresh = chunk;
    if (announced) return;
    const generation = this.#generation;
    requestAnimationFrame(() => { // it is on screen with the browser's next picture, not before
      const shown = this.#fresh;
      this.#fresh = null;
      if (!shown || generation !== this.#generation) return;
      this.#counts.frames += 1;
      this.#on.frame(shown, performance.now());
    });
  }
}
