// @ts-check
/** The editor's transport: preview, rollout along the path, playhead, and the recording of a walk. */

import { poseOf } from './geometry.js';
import { RecordingMap } from './recording_map.js';
import { clockTime } from '../lib/format.js';

/** @typedef {import('./geometry.js').Pose} Pose */
/** @typedef {import('./requests.js').Sample} Sample */
/** @typedef {'rest' | 'preview' | 'asking' | 'dream' | 'record'} Activity `asking`: the path is being uploaded; `dream`: the session follows it; `record`: a walk is recorded. */
/**
 * `sample()`: the path as sampled, or null; `unready()`: the reason why there is nothing to follow, or nothing;
 * `settled()`: resolves once the sample is of the newest path; `file()`: uploads the path and resolves with its name;
 * `walked(since)`: makes the recorded walk the path; `closed()`: true if the path is a loop.
 * @typedef {object} TransportHandlers
 * @property {() => Sample | null} sample
 * @property {() => number} fps
 * @property {() => string} unready
 * @property {() => Promise<void>} settled
 * @property {() => Promise<string>} file
 * @property {(since: number) => Promise<void>} walked
 * @property {() => boolean} closed
 * @property {(text: string) => void} toast
 * @property {(work: () => unknown) => unknown} attempt
 * @property {(thumbnail: string | null) => void} preview
 * @property {() => void} redraw
 */

const THUMBS_EVERY_MS = 1500;
const THUMBS_LATER_MS = 400;

export class Transport {
  /** @type {import('../net/session.js').Session} */
  #session;
  /** @type {TransportHandlers} */
  #on;
  /** @type {Activity} */
  #doing = 'rest';
  #frame = 0;
  /** @type {{frame: number, at: number} | null} */
  #playedFrom = null;
  /** @type {RecordingMap | null} */
  #recording = null;
  #thumbsAt = 0;
  #since = -1;
  /** @type {Pose[]} */
  #trail = [];
  #pointing = false;
  /** @type {object | null} */
  #asked = null;
  /** @type {RecordingMap | null} */
  #before = null;
  #newest = -1;

  /**
   * @param {import('../net/session.js').Session} session
   * @param {TransportHandlers} on
   */
  constructor(session, on) {
    this.#session = session;
    this.#on = on;
  }

  /** The present activity. */
  get doing() {
    return this.#doing;
  }

  /** Frame under the playhead. */
  get frame() {
    return Math.min(this.#frame, this.#last);
  }

  /** Chunks of the newest rollout along the path, or null. */
  get recording() {
    return this.#recording;
  }

  /** Poses since the recording of a walk began. */
  get trail() {
    return this.#trail;
  }

  /** Number of the path's present frames that are generated. */
  get covered() {
    const sample = this.#on.sample();
    return this.#recording && sample && this.#recording.where === this.#where ? this.#recording.sharedWith(sample.frames) : 0;
  }

  /** Generated chunk under the playhead, or null. */
  get chunkHere() {
    return this.frame < this.covered ? this.#recording?.chunkAt(this.frame) ?? null : null;
  }

  /** True if there is path left to follow after the chunk under the playhead. */
  get mayDreamOn() {
    const chunk = ['dream', 'asking'].includes(this.#doing) ? null : this.chunkHere;
    return chunk !== null && chunk.from + chunk.frames <= this.#last;
  }

  /** True if the newest video shows the whole path and nothing after it. */
  get maySave() {
    return this.#doing === 'rest' && this.#recording?.whole === true && this.#recording.newest === this.#session.chunk?.index;
  }

  /** @param {import('../players/factory.js').PlayedChunk} chunk received */
  arrived(chunk) {
    this.#newest = chunk.index;
    this.#recording?.took(chunk);
    if (this.#doing === 'record') this.#trail.push(poseOf(chunk.pose));
    if (this.#doing !== 'dream' || !this.#recording?.over) return;
    if (this.#recording.whole) this.#dreamed();
    else this.#end();
  }

  /** @param {import('../players/factory.js').PlayedChunk} chunk on screen */
  shown(chunk) {
    const frame = this.#doing === 'dream' ? this.#recording?.frameOf(chunk.index) ?? null : null;
    if (frame === null) return;
    this.#frame = frame;
    this.#on.redraw();
  }

  /**
   * The visitor moved the camera.
   * @param {number} seq of the message
   */
  touched(seq) {
    if (this.#doing === 'dream') {
      this.#recording?.leave(seq);
      this.#on.toast('The camera is yours again.');
      this.#end();
    } else if (this.#doing === 'preview' || this.#doing === 'asking') this.#end();
    this.#point(false);
  }

  /**
   * The server refused a message.
   * @param {number | null | undefined} seq
   */
  refused(seq) {
    if (this.#doing !== 'dream' || this.#recording?.seq !== seq) return;
    this.#recording = this.#before;
    this.#end();
  }

  /** Another session: nothing of the path is generated in it. */
  forget() {
    this.stop();
    this.#recording = null;
    this.#point(false);
  }

  /** Moves the playhead along the path without generating, or stops that. */
  preview() {
    if (this.#doing === 'preview') return this.#end();
    if (this.#last < 1) return this.#on.toast('A path needs two key poses to be walked along.');
    this.stop();
    this.#point(false);
    if (this.#frame >= this.#last) this.#frame = 0;
    this.#doing = 'preview';
    this.#playedFrom = { frame: this.#frame, at: performance.now() };
    return this.#on.redraw();
  }

  /** Follows the path from its first frame on in a new rollout of this scene and seed, or stops that. */
  dream() {
    if (this.#doing === 'dream' || this.#doing === 'asking') return this.stop();
    return this.#follow((file, path) => new RecordingMap(path, this.#session.reset({ file })));
  }

  /** Rewinds to the chunk under the playhead and follows the rest of the path from there. */
  dreamOn() {
    const chunk = this.mayDreamOn ? this.chunkHere : null;
    if (!chunk) return undefined;
    const { index, from, frames: length } = chunk;
    return this.#follow((file, path) => new RecordingMap(path, this.#session.rewind(index, { file, frame: from + length }), this.#recording, index));
  }

  /** Rewinds to the chunk under the playhead, to walk from there. */
  walkOn() {
    const chunk = this.chunkHere;
    if (!chunk) return;
    this.stop();
    this.#point(false);
    this.#session.rewind(chunk.index);
  }

  /** Starts to record a walk; the second call makes it the path. */
  record() {
    if (this.#doing === 'record') return this.#walked();
    if (!this.#session.chunk) return undefined;
    this.stop();
    this.#doing = 'record';
    this.#since = this.#session.chunk.index;
    this.#trail = [poseOf(this.#session.chunk.pose)];
    this.#on.toast('Walk: your way is recorded until you press the button again.');
    return this.#on.redraw();
  }

  /** Stops whatever runs. */
  stop() {
    if (this.#doing === 'dream') this.#recording?.leave(this.#session.leavePath());
    this.#trail = [];
    this.#end();
  }

  /** The editor was closed. */
  close() {
    this.stop();
    this.#point(false);
  }

  /** The path changed: a preview ends; a rollout goes on along its own copy. */
  changed() {
    if (this.#doing === 'preview') this.#end();
  }

  /**
   * Moves the playhead, and shows the thumbnail there.
   * @param {number} frame
   */
  scrub(frame) {
    if (!['rest', 'record'].includes(this.#doing)) this.stop();
    this.#frame = Math.max(0, Math.min(this.#last, frame));
    this.#point(true);
    this.fetchThumbs();
    this.#on.redraw();
  }

  /**
   * Moves the playhead of a preview. Returns true while it runs.
   * @param {number} now
   */
  advance(now) {
    if (this.#doing !== 'preview' || !this.#playedFrom) return false;
    const { frame, at } = this.#playedFrom;
    const reached = frame + Math.floor(((now - at) / 1000) * this.#on.fps());
    this.#frame = this.#on.closed() ? reached % Math.max(1, this.#last) : Math.min(this.#last, reached);
    if (reached >= this.#last && !this.#on.closed()) this.#end();
    return true;
  }

  /**
   * Requests missing thumbnails, at most every THUMBS_EVERY_MS unless forced.
   * @param {boolean} now
   */
  async fetchThumbs(now = false) {
    const token = this.#session.info?.token;
    if (!this.#recording || !token || (!now && performance.now() - this.#thumbsAt < THUMBS_EVERY_MS)) return;
    this.#thumbsAt = performance.now();
    try {
      await this.#recording.fetchThumbs(token);
    } catch {
      return; // thumbnails are not needed
    }
    if (this.#pointing) this.#point(true);
    this.#on.redraw();
  }

  /** Scene and seed, in which a recording map is valid. */
  get #where() {
    const { info } = this.#session;
    return `${info?.scene} ${info?.seed}`;
  }

  /**
   * Shows the thumbnail under the playhead, or none.
   * @param {boolean} pointing
   */
  #point(pointing) {
    this.#pointing = pointing;
    this.#on.preview(pointing && this.chunkHere ? this.#recording?.thumbAt(this.frame) ?? null : null);
  }

  get #last() {
    return Math.max(0, (this.#on.sample()?.frames.length ?? 0) - 1);
  }

  /**
   * Uploads the path and starts to follow it.
   * @param {(file: string, path: import('./recording_map.js').FollowedPath) => RecordingMap} begin sends the message
   */
  #follow(begin) {
    this.stop();
    const asked = this.#asked = {};
    this.#doing = 'asking';
    this.#on.redraw();
    return this.#on.attempt(async () => {
      try {
        await this.#on.settled();
        const reason = this.#on.unready();
        if (reason) throw new Error(reason);
        const { frames } = this.#on.sample() ?? { frames: [] };
        const file = await this.#on.file();
        if (asked !== this.#asked) return; // stopped before it began
        this.#point(false);
        this.#before = this.#recording;
        this.#recording = begin(file, { frames, where: this.#where, after: this.#newest });
        this.#doing = 'dream';
        this.#on.redraw();
      } catch (error) {
        if (asked === this.#asked) this.#end();
        throw error;
      }
    });
  }

  #dreamed() {
    const { info } = this.#session;
    const frames = this.#recording?.frames.length ?? 0;
    this.#on.toast(`Dreamed ${clockTime(frames / this.#on.fps())} in ${info?.scene}, seed ${info?.seed}. Drag along the line below to see it again.`);
    this.#frame = this.#last;
    this.#end();
    setTimeout(() => this.fetchThumbs(true), THUMBS_LATER_MS); // the server makes the newest ones a moment later
  }

  #walked() {
    const moved = this.#trail.length > 1;
    this.#end();
    if (!moved) return this.#on.toast('Nothing moved while it was recording.');
    return this.#on.attempt(async () => {
      await this.#on.walked(this.#since);
      this.#trail = [];
    });
  }

  #end() {
    this.#doing = 'rest';
    this.#asked = this.#playedFrom = null;
    this.#on.redraw();
  }
}
