/** The last resort, which needs no video codec at all: every frame comes as a JPEG picture. */

import { CanvasPlayer } from './canvas.js';
import { framesOf } from './frames.js';

export class JpegPlayer extends CanvasPlayer {
  static async canPlay() {
    return typeof createImageBitmap === 'function';
  }

  #stream = 0;
  #decoding = Promise.resolve();

  open(format) {
    this.close();
    this.screen.open(format);
  }

  chunk(bytes, meta, skip) {
    const chunk = this.screen.arrived(meta, skip);
    const pictures = Promise.all(framesOf(bytes, meta.sizes).map((data) => createImageBitmap(new Blob([data], { type: 'image/jpeg' }))));
    pictures.catch(() => {}); // told below, when its turn comes
    const stream = this.#stream;
    this.#decoding = this.#decoding.then(async () => {
      try {
        for (const picture of await pictures) {
          if (stream === this.#stream) this.screen.show(picture, chunk);
          else picture.close();
        }
      } catch (error) {
        if (stream === this.#stream) this.fail(error.message);
      }
    });
  }

  close() {
    this.#stream += 1;
    this.screen.clear();
  }
}
