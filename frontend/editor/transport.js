/** What runs along the path: the preview, the dream, the playhead that is dragged, and the walk that is recorded. */

import { poseOf } from './geometry.js';
import { Take } from './recording_map.js';
import { time } from './timeline.js';

const THUMBS_EVERY_MS = 1500;
const THUMBS_LATER_MS = 400;

export class Transport {
  #session;
  #on;
  #doing = 'rest';
  #frame = 0;
  #playedFrom = null;
  #take = null;
  #thumbsAt = 0;
  #since = -1;
  #trail = [];
  #pointing = false;
  #asked = null;
  #before = null;
  #newest = -1;

  /**
   * `on.sample()`: the path as sampled, or null; `on.fps()`; `on.unready()`: a sentence where there is nothing to follow; `on.settled()`: resolves once the sample is of the newest path;
   * `on.file()`: hands the path over, and resolves with its name; `on.walked(since)`: makes the recorded walk the path;
   * `on.closed()`: whether the path goes around; `on.say(text)`, `on.attempt(work)`, `on.preview(picture)`, `on.redraw()`.
   */
  constructor(session, on) {
    this.#session = session;
    this.#on = on;
  }

  /** What is going on: `rest`, `preview`, `asking` for a dream, `dream` or `record`. */
  get doing() {
    return this.#doing;
  }

  /** Where the playhead is. */
  get frame() {
    return Math.min(this.#frame, this.#last);
  }

  get take() {
    return this.#take;
  }

  /** What was walked since the recording began. */
  get trail() {
    return this.#trail;
  }

  /** How many of the path's frames are dreamed as they are now. */
  get covered() {
    const sample = this.#on.sample();
    return this.#take && sample && this.#take.where === this.#where ? this.#take.sharedWith(sample.frames) : 0;
  }

  /** The dreamed chunk under the playhead, or null. */
  get chunkHere() {
    return this.frame < this.covered ? this.#take.chunkAt(this.frame) : null;
  }

  /** Whether there is path left to dream after the chunk under the playhead. */
  get mayDreamOn() {
    const chunk = ['dream', 'asking'].includes(this.#doing) ? null : this.chunkHere;
    return chunk !== null && chunk.from + chunk.frames <= this.#last;
  }

  /** Whether the newest of the video is all of the take and nothing else. */
  get maySave() {
    return this.#doing === 'rest' && Boolean(this.#take?.whole) && this.#take.newest === this.#session.chunk?.index;
  }

  /** A chunk has come. */
  arrived(chunk) {
    this.#newest = chunk.index;
    this.#take?.took(chunk);
    if (this.#doing === 'record') this.#trail.push(poseOf(chunk.pose));
    if (this.#doing !== 'dream' || !this.#take.over) return;
    if (this.#take.whole) this.#dreamed();
    else this.#end();
  }

  /** A chunk is on screen. */
  shown(chunk) {
    const frame = this.#doing === 'dream' ? this.#take.frameOf(chunk.index) : null;
    if (frame === null) return;
    this.#frame = frame;
    this.#on.redraw();
  }

  /** The visitor's keys or looks were sent as message `seq`. */
  touched(seq) {
    if (this.#doing === 'dream') {
      this.#take.leave(seq);
      this.#on.say('The camera is yours again.');
      this.#end();
    } else if (this.#doing === 'preview' || this.#doing === 'asking') this.#end();
    this.#point(false);
  }

  /** The server has refused message `seq`. */
  refused(seq) {
    if (this.#doing !== 'dream' || this.#take.seq !== seq) return;
    this.#take = this.#before;
    this.#end();
  }

  /** The dream is another one: nothing of the path is dreamed in it. */
  forget() {
    this.stop();
    this.#take = null;
    this.#point(false);
  }

  /** Runs the camera along the path without dreaming, or stops that. */
  preview() {
    if (this.#doing === 'preview') return this.#end();
    if (this.#last < 1) return this.#on.say('A path needs two key poses to be walked along.');
    this.stop();
    this.#point(false);
    if (this.#frame >= this.#last) this.#frame = 0;
    this.#doing = 'preview';
    this.#playedFrom = { frame: this.#frame, at: performance.now() };
    return this.#on.redraw();
  }

  /** Dreams the path from its first frame on, in a fresh dream of this scene and seed; or stops that. */
  dream() {
    if (this.#doing === 'dream' || this.#doing === 'asking') return this.stop();
    return this.#follow((file, shot) => new Take(shot, this.#session.reset({ file })));
  }

  /** Goes back to the chunk under the playhead and dreams the rest of the path from there. */
  dreamOn() {
    if (!this.mayDreamOn) return undefined;
    const { index, from, frames: length } = this.chunkHere;
    return this.#follow((file, shot) => new Take(shot, this.#session.rewind(index, { file, frame: from + length }), this.#take, index));
  }

  /** Goes back to the chunk under the playhead, to walk from there. */
  walkOn() {
    const chunk = this.chunkHere;
    if (!chunk) return;
    this.stop();
    this.#point(false);
    this.#session.rewind(chunk.index);
  }

  /** Records what is walked from now on; once more, and it is the path. */
  record() {
    if (this.#doing === 'record') return this.#walked();
    if (!this.#session.chunk) return undefined;
    this.stop();
    this.#doing = 'record';
    this.#since = this.#session.chunk.index;
    this.#trail = [poseOf(this.#session.chunk.pose)];
    this.#on.say('Walk: the way is recorded until you press the button again.');
    return this.#on.redraw();
  }

  /** Stops whatever runs. */
  stop() {
    if (this.#doing === 'dream') this.#take.leave(this.#session.leavePath());
    this.#trail = [];
    this.#end();
  }

  /** Nobody plans any more. */
  close() {
    this.stop();
    this.#point(false);
  }

  /** The path is another one: what runs along the old one ends, but for a dream, which has its own copy. */
  changed() {
    if (this.#doing === 'preview') this.#end();
  }

  /** Puts the playhead at a frame, and shows what was dreamed there. */
  scrub(frame) {
    if (!['rest', 'record'].includes(this.#doing)) this.stop();
    this.#frame = Math.max(0, Math.min(this.#last, frame));
    this.#point(true);
    this.fetchThumbs();
    this.#on.redraw();
  }

  /** Moves the playhead of a preview; whether it still moves. */
  advance(now) {
    if (this.#doing !== 'preview') return false;
    const { frame, at } = this.#playedFrom;
    const reached = frame + Math.floor(((now - at) / 1000) * this.#on.fps());
    this.#frame = this.#on.closed() ? reached % Math.max(1, this.#last) : Math.min(this.#last, reached);
    if (reached >= this.#last && !this.#on.closed()) this.#end();
    return true;
  }

  /** Asks for the small pictures of what was dreamed, not too often unless it must be `now`. */
  async fetchThumbs(now = false) {
    const { token } = this.#session.info ?? {};
    if (!this.#take || !token || (!now && performance.now() - this.#thumbsAt < THUMBS_EVERY_MS)) return;
    this.#thumbsAt = performance.now();
    try {
      await this.#take.fetchThumbs(token);
    } catch {
      return; // the pictures are missing then, nothing else
    }
    if (this.#pointing) this.#point(true);
    this.#on.redraw();
  }

  /** A take is of one scene and seed. */
  get #where() {
    const { scene, seed } = this.#session.info;
    return `${scene} ${seed}`;
  }

  /** Shows what was dreamed under the playhead, or no more. */
  #point(pointing) {
    this.#pointing = pointing;
    this.#on.preview(pointing && this.chunkHere ? this.#take.thumbAt(this.frame) : null);
  }

  get #last() {
    return Math.max(0, (this.#on.sample()?.frames.length ?? 0) - 1);
  }

  /** Hands the path over as a file, and begins to follow it; `begin(file, shot)` asks, and gives the take. */
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
        const { frames } = this.#on.sample();
        const file = await this.#on.file();
        if (asked !== this.#asked) return; // stopped before it began
        this.#point(false);
        this.#before = this.#take;
        this.#take = begin(file, { frames, where: this.#where, after: this.#newest });
        this.#doing = 'dream';
        this.#on.redraw();
      } catch (error) {
        if (asked === this.#asked) this.#end();
        throw error;
      }
    });
  }

  #dreamed() {
    const { scene, seed } = this.#session.info;
    this.#on.say(`Dreamed ${time(this.#take.frames.length / this.#on.fps())} in ${scene}, seed ${seed}. Drag along the line below to see it again.`);
    this.#frame = this.#last;
    this.#end();
    setTimeout(() => this.fetchThumbs(true), THUMBS_LATER_MS); // the newest pictures are made a moment later
  }

  #walked() {
    const moved = this.#trail.length > 1;
    this.#end();
    if (!moved) return this.#on.say('Nothing moved while it was recording.');
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
