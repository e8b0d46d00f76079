// @ts-check
/** Plays the stream with WebCodecs: each frame is decoded as it comes and drawn into a canvas, without a playback clock. */

import { CanvasPlayer, framesOf } from './canvas.js';

/** @typedef {import('./factory.js').StreamFormat} StreamFormat */
/** @typedef {import('./screen.js').ScheduledChunk} ScheduledChunk */

export class WebCodecsPlayer extends CanvasPlayer {
  /**
   * Returns true if this browser decodes the format by WebCodecs; only secure pages have it.
   * @param {{codec: string}} format
   */
  static async canPlay({ codec }) {
    try {
      return (await VideoDecoder.isConfigSupported({ codec, optimizeForLatency: true })).supported === true;
    } catch {
      return false; // no WebCodecs, or a codec string that it does not know
    }
  }

  /** @type {StreamFormat | null} */
  #format = null;
  /** @type {VideoDecoder | null} */
  #decoder = null;
  /** Chunk of each frame in the decoder, by timestamp. @type {Map<number, ScheduledChunk>} */
  #chunks = new Map();
  #sent = 0;

  /** @param {StreamFormat} format */
  open(format) {
    this.close();
    this.#format = format;
    this.screen.open(format);
    this.#sent = 0;
    const decoder = new VideoDecoder({
      output: (frame) => (decoder === this.#decoder ? this.#decoded(frame) : frame.close()),
      error: (error) => decoder === this.#decoder && this.fail(error),
    });
    this.#decoder = decoder;
    try {
      decoder.configure({
        codec: format.codec ?? '', description: fromBase64(format.description ?? ''), codedWidth: format.width, codedHeight: format.height, optimizeForLatency: true,
      });
    } catch (error) {
      this.fail(error);
    }
  }

  /**
   * @param {ArrayBuffer} bytes
   * @param {import('./factory.js').PlayedChunk} message
   * @param {boolean} skip
   */
  chunk(bytes, message, skip) {
    const [decoder, format] = [this.#decoder, this.#format];
    if (decoder?.state !== 'configured' || !format) return;
    const chunk = this.screen.arrived(message, skip);
    try {
      framesOf(bytes, message.sizes).forEach((data, i) => {
        const timestamp = Math.round((this.#sent * 1e6) / format.fps);
        this.#sent += 1;
        this.#chunks.set(timestamp, chunk);
        decoder.decode(new EncodedVideoChunk({ type: message.keys[i] ? 'key' : 'delta', timestamp, data }));
      });
    } catch (error) {
      this.fail(error);
    }
  }

  close() {
    super.close();
    this.#chunks.clear();
    const decoder = this.#decoder;
    this.#decoder = null;
    if (decoder && decoder.state !== 'closed') decoder.close();
  }

  /** @returns {Record<string, number>} */
  get stats() {
    return { ...super.stats, decoding: this.#decoder?.decodeQueueSize ?? 0 };
  }

  /** @param {VideoFrame} frame */
  #decoded(frame) {
    const chunk = this.#chunks.get(frame.timestamp);
    this.#chunks.delete(frame.timestamp);
    if (chunk) this.screen.show(frame, chunk);
    else frame.close();
  }
}

/** @param {string} base64 */
function fromBase64(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}
