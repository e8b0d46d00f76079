// @ts-check
/**
 * Plays the stream with Media Source Extensions, managed or not. It keeps to the live edge, skips to the chunk that
 * answers a key, trims what was played, jumps gaps, and always ends on a chunk's last frame.
 */

import { LiveEdge } from './live_edge.js';

/** Safari stutters when the playback rate changes; there the player only seeks. */
/** @typedef {import('./factory.js').PlayedChunk} PlayedChunk */
/** @typedef {import('./factory.js').StreamFormat} StreamFormat */
/** @typedef {PlayedChunk & {end: number}} TimedChunk `end`: seconds of the stream at which it ends. */
/** @typedef {{bytes: ArrayBuffer, chunk: TimedChunk | null, skip: boolean, sent: boolean, rated: boolean}} Append An append to come; the init segment has no chunk. */

const RATE_CONTROL = !('ManagedMediaSource' in window);
const SKIP_OVER_S = 0.02; // a smaller lead than this is not worth the hitch of a seek
const TRIM = Object.freeze({ everyS: 12, keepS: 6 }); // more than two GOPs must stay behind the playhead
const STUCK_MS = 1500;

export class MsePlayer {
  /**
   * Returns true if a MediaSource class can play the MIME type that the server names.
   * @param {typeof MediaSource | undefined} Source
   * @param {string} mime
   */
  static canPlay(Source, mime) {
    return Boolean(Source?.isTypeSupported(mime));
  }

  /** @type {HTMLVideoElement} */
  #video;
  /** @type {HTMLCanvasElement} */
  #still;
  /** @type {import('./factory.js').PlayerHandlers} */
  #on;
  /** @type {typeof MediaSource} */
  #Source;
  /** @type {StreamFormat | null} */
  #format = null;
  /** @type {MediaSource | null} */
  #source = null;
  /** @type {SourceBuffer | null} */
  #buffer = null;
  /** @type {Append[]} */
  #queue = [];
  /** @type {TimedChunk[]} */
  #chunks = [];
  #shownPts = -1;
  #edge = new LiveEdge();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #settleTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #stuckTimer;
  #nudges = 0;
  #url = '';
  #counts = { seeks: 0, skips: 0, stalls: 0, trims: 0, frames: 0 };

  /**
   * @param {HTMLElement} stage
   * @param {import('./factory.js').PlayerHandlers} on
   * @param {typeof MediaSource} Source MediaSource or ManagedMediaSource
   */
  constructor(stage, on, Source) {
    this.#on = on;
    this.#Source = Source;
    this.#still = /** @type {HTMLCanvasElement} */ (stage.querySelector('canvas'));
    this.#video = /** @type {HTMLVideoElement} */ (stage.querySelector('video'));
    const video = this.#video;
    video.muted = true;
    video.playsInline = true;
    video.disableRemotePlayback = true; // ManagedMediaSource stays closed without it
    video.addEventListener('waiting', () => this.#waiting());
    video.addEventListener('error', () => video.error && this.#source && this.#fail(video.error.message || `media error ${video.error.code}`));
    this.#watchFrames();
  }

  /**
   * Starts a new stream; the last frame stays until the new one is there.
   * @param {StreamFormat} format
   */
  open(format) {
    this.holdFrame();
    this.#release();
    this.#format = format;
    this.#source = new this.#Source();
    const source = this.#source;
    source.addEventListener('sourceopen', () => source === this.#source && this.#opened(), { once: true });
    this.#url = URL.createObjectURL(source);
    this.#video.src = this.#url;
    this.#play();
  }

  /** @param {ArrayBuffer} bytes init segment */
  init(bytes) {
    this.#queue.push({ bytes, chunk: null, skip: false, sent: false, rated: false });
    this.#feed();
  }

  /**
   * @param {ArrayBuffer} bytes fragment
   * @param {PlayedChunk} chunk
   * @param {boolean} skip jump to it: it answers an input
   */
  chunk(bytes, chunk, skip) {
    this.#queue.push({ bytes, chunk: { ...chunk, end: chunk.pts + chunk.frames / this.#fps }, skip, sent: false, rated: false });
    this.#feed();
  }

  /** Jumps to the newest frame: after a hidden tab or a pause. */
  goLive() {
    const end = this.#end();
    if (end > 0) this.#seek(end - 0.5 / this.#fps);
    this.#play();
  }

  /** Copies the present frame into the canvas under the video, so that it stays while the stream changes. */
  holdFrame() {
    const video = this.#video;
    const still = this.#still;
    if (this.frameSource !== video) return;
    const [width, height] = [video.videoWidth, video.videoHeight];
    if (still.width !== width || still.height !== height) Object.assign(still, { width, height });
    still.getContext('2d')?.drawImage(video, 0, 0);
  }

  /** Stops, and leaves the last frame in place. */
  close() {
    this.holdFrame();
    this.#release();
  }

  /** Element that shows the frame: the video from a stream's first frame on, also during a seek. */
  get frameSource() {
    const shows = this.#shownPts >= 0 && this.#video.readyState >= HTMLMediaElement.HAVE_METADATA;
    return shows ? this.#video : this.#still;
  }

  get stats() {
    const video = this.#video;
    return {
      ...this.#counts,
      slack: Math.max(0, this.#end() - video.currentTime),
      rate: video.playbackRate,
      time: video.currentTime,
      dropped: video.getVideoPlaybackQuality?.().droppedVideoFrames ?? 0,
    };
  }

  get #fps() {
    return this.#format?.fps ?? 24;
  }

  #release() {
    clearTimeout(this.#settleTimer);
    clearTimeout(this.#stuckTimer);
    this.#source = null;
    this.#buffer = null;
    this.#queue = [];
    this.#chunks = [];
    this.#shownPts = -1;
    this.#nudges = 0;
    if (!this.#url) return;
    this.#video.removeAttribute('src');
    this.#video.load();
    URL.revokeObjectURL(this.#url);
    this.#url = '';
  }

  #play() {
    this.#video.play().catch(() => {}); // refused without a gesture on some phones; the click to play asks again
  }

  #opened() {
    if (!this.#source || !this.#format) return;
    /** @type {SourceBuffer} */
    let buffer;
    try {
      buffer = this.#source.addSourceBuffer(this.#format.mime);
    } catch (error) {
      this.#fail(messageOf(error));
      return;
    }
    this.#buffer = buffer;
    buffer.mode = 'segments';
    buffer.addEventListener('updateend', () => buffer === this.#buffer && this.#feed());
    buffer.addEventListener('error', () => buffer === this.#buffer && this.#fail('a fragment could not be read'));
    this.#feed();
  }

  #feed() {
    const buffer = this.#buffer;
    if (!buffer || buffer.updating || this.#source?.readyState !== 'open') return;
    this.#appended();
    const next = this.#queue[0];
    if (!next || buffer.updating) return;
    if (next.chunk && !next.rated) this.#controlRate(next, next.chunk);
    try {
      buffer.appendBuffer(next.bytes);
      next.sent = true;
      if (next.chunk) this.#chunks = [...this.#chunks.slice(-63), next.chunk]; // its first frame may come before updateend
    } catch (error) {
      if (error instanceof DOMException && error.name === 'QuotaExceededError' && this.#trim(2)) return; // its updateend comes back here
      this.#fail(messageOf(error));
    }
  }

  /** Handles the end of an append: skips, settles, trims. */
  #appended() {
    const done = this.#queue[0];
    if (!done?.sent) return;
    this.#queue.shift();
    if (!done.chunk) return;
    const video = this.#video;
    const { pts } = done.chunk;
    if (done.skip && pts - video.currentTime > SKIP_OVER_S) {
      this.#counts.skips += 1;
      this.#seek(pts + 0.001);
    } else {
      this.#jumpGap();
    }
    if (video.paused) this.#play();
    this.#settleLater(done.chunk);
    if (video.buffered.length && video.currentTime - video.buffered.start(0) > TRIM.everyS) this.#trim(TRIM.keepS);
  }

  /**
   * Sets the playback rate before a chunk is appended, so that the buffer is next to empty when it arrives.
   * @param {Append} next
   * @param {TimedChunk} chunk
   */
  #controlRate(next, chunk) {
    next.rated = true;
    const video = this.#video;
    const length = chunk.end - chunk.pts;
    const slack = this.#end() - video.currentTime;
    const { rate, late } = this.#edge.arrived(length, slack, this.#fps);
    if (this.#end() > 0 && late) next.skip = true;
    if (RATE_CONTROL && rate !== video.playbackRate) video.playbackRate = rate;
  }

  #end() {
    const { buffered } = this.#video;
    return buffered.length ? buffered.end(buffered.length - 1) : 0;
  }

  /** @param {number} time */
  #seek(time) {
    this.#counts.seeks += 1;
    this.#video.currentTime = time;
  }

  /**
   * Removes what was played more than some seconds ago. Returns true if there is something to remove.
   * @param {number} keepS
   */
  #trim(keepS) {
    const start = this.#video.buffered.length ? this.#video.buffered.start(0) : 0;
    const until = this.#video.currentTime - keepS;
    if (until <= start || !this.#buffer || this.#buffer.updating) return false;
    this.#counts.trims += 1;
    this.#buffer.remove(0, until);
    return true;
  }

  #waiting() {
    this.#counts.stalls += 1;
    this.#jumpGap();
  }

  /** Moves a playhead before or between buffered ranges to the next range. */
  #jumpGap() {
    const { buffered, currentTime } = this.#video;
    for (let i = 0; i < buffered.length; i += 1) {
      if (currentTime >= buffered.start(i) - 0.001 && currentTime <= buffered.end(i)) return;
      if (buffered.start(i) > currentTime) {
        this.#seek(buffered.start(i) + 0.001);
        return;
      }
    }
  }

  /**
   * Browsers stop a frame or two before the end of the buffer. When no further chunk follows, the playhead is put on the
   * last frame; and a frame that was never presented is sought again.
   * @param {TimedChunk} chunk
   */
  #settleLater(chunk) {
    clearTimeout(this.#settleTimer);
    clearTimeout(this.#stuckTimer);
    const frame = 1 / this.#fps;
    const leftMs = 1000 * Math.max(0, chunk.end - this.#video.currentTime) / this.#video.playbackRate;
    this.#settleTimer = setTimeout(() => {
      if (this.#shownPts < chunk.end - 1.5 * frame) this.#seek(chunk.end - 0.5 * frame);
    }, leftMs + 60);
    this.#stuckTimer = setTimeout(() => this.#checkStuck(chunk), leftMs + STUCK_MS);
  }

  /** @param {TimedChunk} chunk */
  #checkStuck(chunk) {
    if (document.hidden || this.#shownPts >= chunk.pts - 0.001) {
      this.#nudges = 0;
      return;
    }
    this.#nudges += 1;
    if (this.#nudges > 2) {
      this.#fail('the video does not move although fragments arrive');
      return;
    }
    this.goLive();
    this.#stuckTimer = setTimeout(() => this.#checkStuck(chunk), STUCK_MS);
  }

  /** @param {string} message */
  #fail(message) {
    this.close();
    this.#on.failed(message);
  }

  #watchFrames() {
    const video = this.#video;
    if (video.requestVideoFrameCallback) {
      /** @type {VideoFrameRequestCallback} */
      const presented = (_, meta) => {
        this.#frame(meta.mediaTime);
        video.requestVideoFrameCallback(presented);
      };
      video.requestVideoFrameCallback(presented);
      return;
    }
    const poll = () => { // old Firefox: the playhead is nearly as exact
      if (!video.seeking && this.#format) {
        const frame = Math.floor(video.currentTime * this.#fps + 0.01) / this.#fps;
        if (frame !== this.#shownPts) this.#frame(frame);
      }
      requestAnimationFrame(poll);
    };
    requestAnimationFrame(poll);
  }

  /** @param {number} mediaTime */
  #frame(mediaTime) {
    if (!this.#format || !this.#source) return;
    this.#counts.frames += 1;
    this.#shownPts = mediaTime;
    const middle = mediaTime + 0.5 / this.#fps;
    const chunk = this.#chunks.findLast((one) => one.pts <= middle && middle < one.end);
    if (chunk) this.#on.frame(chunk, performance.now());
  }
}

/** @param {unknown} error */
function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}
