// @ts-check
/** Plays JPEG frames: needs no video codec, and takes the most bandwidth. */

import { CanvasPlayer, framesOf } from './canvas.js';

export class JpegPlayer extends CanvasPlayer {
  static async canPlay() {
    return typeof createImageBitmap === 'function';
  }

  #stream = 0;
  #decoding = Promise.resolve();

  /** @param {import('./factory.js').StreamFormat} format */
  open(format) {
    this.close();
    this.screen.open(format);
  }

  /**
   * @param {ArrayBuffer} bytes
   * @param {import('./factory.js').PlayedChunk} message
   * @param {boolean} skip
   */
  chunk(bytes, message, skip) {
    const chunk = this.screen.arrived(message, skip);
    const frames = Promise.all(framesOf(bytes, message.sizes).map((data) => createImageBitmap(new Blob([data], { type: 'image/jpeg' }))));
    frames.catch(() => {}); // handled below, in the order of the chunks
    const stream = this.#stream;
    this.#decoding = this.#decoding.then(async () => {
      try {
        for (const frame of await frames) {
          if (stream === this.#stream) this.screen.show(frame, chunk);
          else frame.close();
        }
      } catch (error) {
        if (stream === this.#stream) this.fail(error);
      }
    });
  }

  close() {
    this.#stream += 1;
    super.close();
  }
}
