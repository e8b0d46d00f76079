/**
 * Plays the dream with Media Source Extensions, managed or not. It keeps to the live edge, skips to the chunk that answers
 * a key, trims what was seen, jumps gaps, and always ends on a chunk's last frame. The other players offer the same
 * methods: open, init, chunk, goLive, keepStill, close, and `picture` to read back what is shown.
 */

import { LiveEdge } from './live_edge.js';

/** Safari stutters when the playback rate changes; there the player only seeks. */
const RATE_CONTROL = !('ManagedMediaSource' in window);
const SKIP_OVER_S = 0.02; // a smaller lead than this is not worth the hitch of a seek
const TRIM = Object.freeze({ everyS: 12, keepS: 6 }); // more than two groups of pictures must stay behind the playhead
const STUCK_MS = 1500;

export class MsePlayer {
  /** Whether `Source`, a MediaSource class or undefined, can play the exact codec string that the server names. */
  static canPlay(Source, mime) {
    return Boolean(Source?.isTypeSupported(mime));
  }

  #video;
  #still;
  #on;
  #Source;
  #format = null;
  #source = null;
  #buffer = null;
  #queue = [];
  #chunks = [];
  #shownPts = -1;
  #edge = new LiveEdge();
  #settleTimer = 0;
  #stuckTimer = 0;
  #nudges = 0;
  #url = '';
  #counts = { seeks: 0, skips: 0, stalls: 0, trims: 0, frames: 0 };

  /**
   * `stage`: the element that gets the picture. `on.frame(chunk, now)` for every frame on screen, `on.failed(message)`
   * when playing cannot go on without a fresh start of the stream. `Source`: MediaSource or ManagedMediaSource.
   */
  constructor(stage, on, Source) {
    this.#on = on;
    this.#Source = Source;
    this.#still = stage.querySelector('canvas');
    this.#video = stage.querySelector('video');
    const video = this.#video;
    video.muted = true;
    video.playsInline = true;
    video.disableRemotePlayback = true; // ManagedMediaSource stays closed without it
    video.addEventListener('waiting', () => this.#waiting());
    video.addEventListener('error', () => video.error && this.#source && this.#fail(video.error.message || `media error ${video.error.code}`));
    this.#watchFrames();
  }

  /** Starts a new stream: `{mime, width, height, fps}`. The last picture stays in place until the new one is there. */
  open(format) {
    this.keepStill();
    this.#release();
    this.#format = format;
    this.#source = new this.#Source();
    const source = this.#source;
    source.addEventListener('sourceopen', () => source === this.#source && this.#opened(), { once: true });
    this.#url = URL.createObjectURL(source);
    this.#video.src = this.#url;
    this.#play();
  }

  /** The stream's init segment. */
  init(bytes) {
    this.#queue.push({ bytes, chunk: null });
    this.#feed();
  }

  /** One fragment; `chunk` is its message. With `skip` the player jumps to it: it answers something the visitor did. */
  chunk(bytes, chunk, skip) {
    this.#queue.push({ bytes, chunk: { ...chunk, end: chunk.pts + chunk.frames / this.#format.fps }, skip });
    this.#feed();
  }

  /** Jumps to the newest frame: after a hidden tab or a pause. */
  goLive() {
    const end = this.#end();
    if (end > 0) this.#seek(end - 0.5 / this.#format.fps);
    this.#play();
  }

  /** Copies the present picture under the video, so that it stays while the stream changes. */
  keepStill() {
    const video = this.#video;
    const still = this.#still;
    if (this.picture !== video) return;
    const [width, height] = [video.videoWidth, video.videoHeight];
    if (still.width !== width || still.height !== height) Object.assign(still, { width, height });
    still.getContext('2d').drawImage(video, 0, 0);
  }

  /** Stops, and leaves the last picture in place. */
  close() {
    this.keepStill();
    this.#release();
  }

  /** What is on screen now, to be drawn into a canvas: the video from a stream's first frame on, in a seek too. */
  get picture() {
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
    try {
      this.#buffer = this.#source.addSourceBuffer(this.#format.mime);
    } catch (error) {
      this.#fail(error.message);
      return;
    }
    this.#buffer.mode = 'segments';
    this.#buffer.addEventListener('updateend', () => this.#feed());
    this.#buffer.addEventListener('error', () => this.#fail('a fragment could not be read'));
    this.#feed();
  }

  #feed() {
    const buffer = this.#buffer;
    if (!buffer || buffer.updating || this.#source?.readyState !== 'open') return;
    this.#appended();
    const next = this.#queue[0];
    if (!next || buffer.updating) return;
    if (next.chunk && !next.steered) this.#steer(next);
    try {
      buffer.appendBuffer(next.bytes);
      next.sent = true;
      if (next.chunk) this.#chunks = [...this.#chunks.slice(-63), next.chunk]; // its first frame may come before updateend
    } catch (error) {
      if (error.name === 'QuotaExceededError' && this.#trim(2)) return; // its updateend comes back here
      this.#fail(error.message);
    }
  }

  /** Takes note of the append that has just ended. */
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

  /** Live-edge control, before a chunk is appended: what is left to play should be next to nothing. */
  #steer(next) {
    next.steered = true;
    const video = this.#video;
    const length = next.chunk.end - next.chunk.pts;
    const slack = this.#end() - video.currentTime;
    const { rate, late } = this.#edge.arrived(length, slack, this.#format.fps);
    if (this.#end() > 0 && late) next.skip = true;
    if (RATE_CONTROL && rate !== video.playbackRate) video.playbackRate = rate;
  }

  #end() {
    const { buffered } = this.#video;
    return buffered.length ? buffered.end(buffered.length - 1) : 0;
  }

  #seek(time) {
    this.#counts.seeks += 1;
    this.#video.currentTime = time;
  }

  #trim(keepS) {
    const start = this.#video.buffered.length ? this.#video.buffered.start(0) : 0;
    const until = this.#video.currentTime - keepS;
    if (until <= start || this.#buffer.updating) return false;
    this.#counts.trims += 1;
    this.#buffer.remove(0, until);
    return true;
  }

  #waiting() {
    this.#counts.stalls += 1;
    this.#jumpGap();
  }

  /** Where the playhead stands before or between buffered ranges, it goes to the next range. */
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
   * Browsers stop a frame or two before the end of what they have. When no further chunk follows, the playhead is put
   * on the last frame, so that the still picture is the newest moment; and a picture that never came is asked for again.
   */
  #settleLater(chunk) {
    clearTimeout(this.#settleTimer);
    clearTimeout(this.#stuckTimer);
    const frame = 1 / this.#format.fps;
    const leftMs = 1000 * Math.max(0, chunk.end - this.#video.currentTime) / this.#video.playbackRate;
    this.#settleTimer = setTimeout(() => {
      if (this.#shownPts < chunk.end - 1.5 * frame) this.#seek(chunk.end - 0.5 * frame);
    }, leftMs + 60);
    this.#stuckTimer = setTimeout(() => this.#checkStuck(chunk), leftMs + STUCK_MS);
  }

  #checkStuck(chunk) {
    if (document.hidden || this.#shownPts >= chunk.pts - 0.001) {
      this.#nudges = 0;
      return;
    }
    this.#nudges += 1;
    if (this.#nudges > 2) {
      this.#fail('the picture does not move although fragments arrive');
      return;
    }
    this.goLive();
    this.#stuckTimer = setTimeout(() => this.#checkStuck(chunk), STUCK_MS);
  }

  #fail(message) {
    this.close();
    this.#on.failed(message);
  }

  #watchFrames() {
    const video = this.#video;
    if (video.requestVideoFrameCallback) {
      const seen = (now, meta) => {
        this.#frame(meta.mediaTime);
        video.requestVideoFrameCallback(seen);
      };
      video.requestVideoFrameCallback(seen);
      return;
    }
    const poll = () => { // old Firefox: the playhead tells nearly as much
      if (!video.seeking && this.#format) {
        const frame = Math.floor(video.currentTime * this.#format.fps + 0.01) / this.#format.fps;
        if (frame !== this.#shownPts) this.#frame(frame);
      }
      requestAnimationFrame(poll);
    };
    requestAnimationFrame(poll);
  }

  #frame(mediaTime) {
    if (!this.#format || !this.#source) return;
    this.#counts.frames += 1;
    this.#shownPts = mediaTime;
    const middle = mediaTime + 0.5 / this.#format.fps;
    const chunk = this.#chunks.findLast((one) => one.pts <= middle && middle < one.end);
    if (chunk) this.#on.frame(chunk, performance.now());
  }
}
