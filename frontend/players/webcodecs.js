/** Plays the same stream with WebCodecs: each frame is decoded as it comes and drawn into a canvas, without a playback clock. */

import { CanvasPlayer } from './canvas.js';
import { framesOf } from './frames.js';

export class WebCodecsPlayer extends CanvasPlayer {
  /** Whether this browser decodes the format by WebCodecs; only secure pages have it. */
  static async canPlay({ codec }) {
    try {
      return (await VideoDecoder.isConfigSupported({ codec, optimizeForLatency: true })).supported === true;
    } catch {
      return false; // no WebCodecs, or a codec string that it does not know
    }
  }

  #format = null;
  #decoder = null;
  #chunks = new Map();
  #sent = 0;

  open(format) {
    this.close();
    this.#format = format;
    this.screen.open(format);
    this.#sent = 0;
    const decoder = new VideoDecoder({
      output: (picture) => (decoder === this.#decoder ? this.#decoded(picture) : picture.close()),
      error: (error) => decoder === this.#decoder && this.fail(error.message),
    });
    this.#decoder = decoder;
    try {
      decoder.configure({
        codec: format.codec, description: bytesOf(format.description), codedWidth: format.width, codedHeight: format.height, optimizeForLatency: true,
      });
    } catch (error) {
      this.fail(error.message);
    }
  }

  chunk(bytes, meta, skip) {
    if (this.#decoder?.state !== 'configured') return;
    const chunk = this.screen.arrived(meta, skip);
    try {
      framesOf(bytes, meta.sizes).forEach((data, i) => {
        const timestamp = Math.round((this.#sent * 1e6) / this.#format.fps);
        this.#sent += 1;
        this.#chunks.set(timestamp, chunk);
        this.#decoder.decode(new EncodedVideoChunk({ type: meta.keys[i] ? 'key' : 'delta', timestamp, data }));
      });
    } catch (error) {
      this.fail(error.message);
    }
  }

  close() {
    this.screen.clear();
    this.#chunks.clear();
    const decoder = this.#decoder;
    this.#decoder = null;
    if (decoder && decoder.state !== 'closed') decoder.close();
  }

  get stats() {
    return { ...super.stats, decoding: this.#decoder?.decodeQueueSize ?? 0 };
  }

  #decoded(picture) {
    const chunk = this.#chunks.get(picture.timestamp);
    this.#chunks.delete(picture.timestamp);
    if (chunk) this.screen.show(picture, chunk);
    else picture.close();
  }
}

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}
