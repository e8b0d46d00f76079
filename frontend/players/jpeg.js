/** The last resort, which needs no video codec at all: every frame comes as a JPEG picture. */

import { Screen } from './screen.js';
import { framesOf } from './frames.js';

export class JpegPlayer {
  static async canPlay() {
    return typeof createImageBitmap === 'function';
  }

  #canvas;
  #screen;
  #on;
  #stream = 0;
  #decoding = Promise.resolve();

  /** As `MsePlayer`; draws into the stage's canvas. */
  constructor(stage, on) {
    this.#canvas = stage.querySelector('canvas');
    this.#on = on;
    this.#screen = new Screen(this.#canvas, on);
  }

  open(format) {
    this.close();
    this.#screen.open(format);
  }

  /** There is none: every picture says all of itself. */
  init() {}

  chunk(bytes, meta, skip) {
    const chunk = this.#screen.arrived(meta, skip);
    const pictures = Promise.all(framesOf(bytes, meta.sizes).map((data) => createImageBitmap(new Blob([data], { type: 'image/jpeg' }))));
    pictures.catch(() => {}); // told below, when its turn comes
    const stream = this.#stream;
    this.#decoding = this.#decoding.then(async () => {
      try {
        for (const picture of await pictures) {
          if (stream === this.#stream) this.#screen.show(picture, chunk);
          else picture.close();
        }
      } catch (error) {
        if (stream === this.#stream) this.#fail(error.message);
      }
    });
  }

  goLive() {
    this.#screen.goLive();
  }

  /** The canvas keeps its picture by itself. */
  keepStill() {}

  close() {
    this.#stream += 1;
    this.#screen.clear();
  }

  get picture() {
    return this.#canvas;
  }

  get stats() {
    return this.#screen.stats;
  }

  #fail(message) {
    this.close();
    this.#on.failed(message);
  }
}
