/** What the players that draw into the stage's canvas have in common. */

import { Screen } from './screen.js';

export class CanvasPlayer {
  #canvas;

  /** As `MsePlayer`. */
  constructor(stage, on) {
    this.#canvas = stage.querySelector('canvas');
    this.on = on;
    this.screen = new Screen(this.#canvas, on);
  }

  /** The init segment says nothing that `open` has not said. */
  init() {}

  /** Jumps to the newest frame: after a hidden tab or a pause. */
  goLive() {
    this.screen.goLive();
  }

  /** The canvas keeps its picture by itself. */
  keepStill() {}

  /** What is on screen now, to be drawn into a canvas. */
  get picture() {
    return this.#canvas;
  }

  get stats() {
    return this.screen.stats;
  }

  /** Gives up until the stream starts afresh. */
  fail(message) {
    this.close();
    this.on.failed(message);
  }
}
