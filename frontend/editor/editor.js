// @ts-check
/** The camera path editor: keyframes on a map, over the video and in numbers, and the rollout along them. */

import { poseOfFrame } from './geometry.js';
import { readFiles, readNamed, readWalk, saveFile } from './files.js';
import { LiveCamera } from './live_camera.js';
import { MapControls } from './map_controls.js';
import { Inspector } from './inspector.js';
import { MapView } from './map.js';
import { CameraPath } from './camera_path.js';
import { PathOverlay } from './path_overlay.js';
import { MapAround } from './map_around.js';
import { Sampler, filed, planOf, upload } from './requests.js';
import { Timeline } from './timeline.js';
import { Toolbar } from './toolbar.js';
import { Transport } from './transport.js';

/** @typedef {import('./geometry.js').Pose} Pose */
/** @typedef {import('../net/session.js').Session} Session */
/** @typedef {import('../players/factory.js').PlayedChunk} PlayedChunk */
/**
 * `attempt(work)`: runs work that may fail, and shows its error. `preview`: image over the stage.
 * @typedef {object} EditorOptions
 * @property {(text: string) => void} toast
 * @property {(work: () => unknown) => unknown} attempt
 * @property {() => void} closed
 * @property {HTMLImageElement} preview
 * @property {(seconds: number) => void} saveVideo
 */

const NOTHING = 'There is no path yet: place key poses first.';

export class Editor {
  /** @type {HTMLElement} */
  #root;
  /** @type {HTMLCanvasElement} */
  #over;
  /** @type {Session} */
  #session;
  /** @type {EditorOptions} */
  #on;
  #path = new CameraPath(() => this.#changed());
  /** @type {Transport} */
  #transport;
  /** @type {MapView} */
  #view;
  /** @type {PathOverlay} */
  #overlay;
  /** @type {Inspector} */
  #inspector;
  /** @type {Timeline} */
  #timeline;
  /** @type {Toolbar} */
  #toolbar;
  #sampler = new Sampler({ sampled: (answer) => this.#sampled(answer), refused: (sentence) => this.#refused(sentence) });
  /** @type {import('./requests.js').Plan | null} */
  #plan = null;
  #planOf = '';
  /** @type {import('./requests.js').Sample | null} */
  #sample = null;
  #poses = /** @type {Pose[]} */ ([]);
  #selected = /** @type {number | null} */ (null);
  #refusal = '';
  #live = new LiveCamera();
  #drawing = false;
  #sessionId = /** @type {string | null} */ (null);

  /**
   * @param {HTMLElement} root
   * @param {HTMLElement} stage
   * @param {Session} session
   * @param {EditorOptions} on
   */
  constructor(root, stage, session, on) {
    this.#root = root;
    this.#over = /** @type {HTMLCanvasElement} */ (stage.querySelector('#editor-over'));
    this.#session = session;
    this.#on = on;
    this.#transport = new Transport(session, {
      sample: () => this.#sample, fps: () => this.#fps, unready: () => this.#unready, settled: () => this.#sampler.settled(), file: () => this.#upload(), walked: (/** @type {number} */ since) => this.#readWalk(since),
      closed: () => this.#path.now.closed, toast: on.toast, attempt: on.attempt, preview: (/** @type {string | null} */ source) => this.#showPreview(source), redraw: () => this.#redraw(),
    });
    /** @type {import('./map_controls.js').EditorHandlers} */
    const handlers = {
      selected: () => this.#selected, select: (id) => this.#select(id), selectNext: (step) => this.#selectNext(step),
      frames: () => this.#poses, secondsOf: (frame) => frame / this.#fps, redraw: () => this.#redraw(), open: () => this.open, eye: () => this.#live.now,
    };
    this.#view = new MapView(this.#part('map'), () => this.#redraw());
    new MapControls(this.#view, this.#path, handlers);
    new MapAround(() => (this.open ? this.#plan : null), () => this.#where.session, () => this.#redraw());
    this.#overlay = new PathOverlay(this.#over, stage, this.#path, handlers);
    this.#inspector = new Inspector(root, this.#path, handlers);
    this.#timeline = new Timeline(root, { scrub: (frame) => this.#transport.scrub(frame), key: (id) => this.#goToKey(id) });
    this.#toolbar = this.#wire();
  }

  get open() {
    return !this.#root.hidden;
  }

  /** See `Transport.doing`. */
  get doing() {
    return this.#transport.doing;
  }

  /** Values for `window.flashdreams`. */
  get state() {
    const { doing, frame, covered } = this.#transport;
    return {
      open: this.open, doing, frame, covered, keys: this.#path.keys, selected: this.#selected, frames: this.#poses.length,
      busy: this.#sampler.busy, refusal: this.#refusal,
    };
  }

  show() {
    this.#root.hidden = this.#over.hidden = false;
    document.body.classList.add('editing');
    this.#readPlan();
    this.#changed();
  }

  close() {
    if (!this.open) return;
    this.#transport.close();
    this.#root.hidden = this.#over.hidden = true;
    document.body.classList.remove('editing');
    this.#on.closed();
  }

  /** Handles Esc: stops what runs, or closes. */
  back() {
    if (this.doing === 'rest') this.close();
    else this.#transport.stop();
  }

  /** The session's scene or seed may have changed. */
  info() {
    const session = this.#session.info?.session ?? null;
    if (session !== this.#sessionId) this.#transport.forget();
    this.#sessionId = session;
    if (this.open) this.#readPlan();
  }

  /** @param {number | null | undefined} seq of a message that the server refused */
  refused(seq) {
    this.#transport.refused(seq);
  }

  /** @param {PlayedChunk} chunk received */
  arrived(chunk) {
    this.#transport.arrived(chunk);
    this.#live.arrived(chunk, this.#fps);
    this.#redraw();
  }

  /** @param {PlayedChunk} chunk on screen */
  shown(chunk) {
    this.#transport.shown(chunk);
  }

  /** @param {number} seq of a message with the visitor's keys or turns */
  touched(seq) {
    if (this.open) this.#transport.touched(seq);
  }

  preview() {
    this.#transport.preview();
  }

  dream() {
    this.#transport.dream();
  }

  /** Stops whatever runs. */
  stop() {
    this.#transport.stop();
  }

  /** Adds a keyframe at the camera's pose. */
  here() {
    if (!this.#live.newest) return;
    const { x, y, z, yaw, pitch, roll } = this.#live.newest;
    /** @param {number} value @param {number} per */
    const rounded = (value, per) => Math.round(per * value) / per;
    const height = this.#plan?.free_height ? rounded(y, 1000) : null;
    this.#select(this.#path.add({ x: rounded(x, 1000), y: height, z: rounded(z, 1000), yaw: rounded(yaw, 100), pitch: rounded(pitch, 100), roll: rounded(roll, 100) }));
  }

  get #fps() {
    return this.#plan?.fps ?? this.#session.info?.fps ?? 24;
  }

  /** @returns {import('./camera_path.js').Where} */
  get #where() {
    const { scene = '', seed = 0, token = '' } = this.#session.info ?? {};
    return { scene, seed, session: token, freeHeight: this.#plan?.free_height ?? true };
  }

  /** Reason why there is nothing to follow, or nothing. */
  get #unready() {
    return this.#path.keys.length === 0 ? NOTHING : this.#refusal;
  }

  /** Shows a thumbnail over the stage, or none. @param {string | null} source */
  #showPreview(source) {
    const { preview } = this.#on;
    preview.hidden = !source;
    if (source) preview.src = source;
    else preview.removeAttribute('src');
  }

  /**
   * @param {string} name
   * @returns {any}
   */
  #part(name) {
    return this.#root.querySelector(`#editor-${name}`);
  }

  #wire() {
    const { transport: run, path } = { transport: this.#transport, path: this.#path };
    /** @type {Record<string, () => unknown>} */
    const commands = {
      close: () => this.close(), here: () => this.here(), record: () => run.record(), undo: () => path.undo(), redo: () => path.redo(), clear: () => path.clear(),
      delete: () => path.remove(this.#selected), earlier: () => this.#inspector.shift(-1), later: () => this.#inspector.shift(1),
      closer: () => this.#view.zoom(1.3), farther: () => this.#view.zoom(1 / 1.3), fit: () => this.#fit(), preview: () => run.preview(), dream: () => run.dream(),
      begin: () => run.scrub(0), on: () => run.dreamOn(), walk: () => run.walkOn(), import: () => this.#part('file').click(), video: () => this.#on.saveVideo((run.recording?.frames.length ?? 0) / this.#fps),
    };
    const toolbar = new Toolbar(this.#root, commands, () => this.#redraw());
    this.#part('file').addEventListener('change', () => this.#readFiles());
    this.#part('shipped').addEventListener('change', () => this.#readShipped());
    this.#part('export').addEventListener('change', () => this.#save());
    const resized = new ResizeObserver(() => this.#redraw());
    resized.observe(this.#part('map'));
    resized.observe(this.#over);
    return toolbar;
  }

  /** @param {number | null} id */
  #select(id) {
    this.#selected = id;
    this.#redraw();
  }

  /** @param {number} step */
  #selectNext(step) {
    const { keys } = this.#path;
    const index = keys.findIndex(({ id }) => id === this.#selected) + step;
    this.#select(keys[Math.max(0, Math.min(keys.length - 1, index))]?.id ?? null);
  }

  /** @param {number} id */
  #goToKey(id) {
    this.#select(id);
    const at = this.#sample?.at[this.#path.keys.findIndex((key) => key.id === id)];
    if (at !== undefined) this.#transport.scrub(Math.round(at * this.#fps));
  }

  /** Fits the map to the path; without one, to the whole scene or the camera's surroundings. */
  #fit() {
    if (this.#path.keys.length > 1) {
      this.#view.fit([...this.#path.keys, ...this.#poses]);
      return;
    }
    this.#view.fitScene(this.#plan?.map ?? null, this.#live.newest ?? this.#plan?.start ?? { x: 0, z: 0 });
  }

  async #readPlan() {
    if (!this.#session.info) return;
    const where = this.#where;
    const key = `${where.scene} ${where.seed} ${where.session} ${this.#session.info.text}`;
    if (key === this.#planOf) return;
    this.#planOf = key;
    await this.#on.attempt(async () => {
      const plan = await planOf(where);
      if (key !== this.#planOf) return;
      this.#plan = plan;
      this.#live.place(plan.start);
      const shipped = this.#part('shipped');
      shipped.replaceChildren(shipped.options[0], ...plan.paths.map((name) => new Option(name.replace(/\.\w+$/, ''), name)));
      this.#changed();
    });
    if (!this.#plan) this.#planOf = ''; // requested again when the editor opens again
  }

  /** The path or its scene changed. */
  #changed() {
    if (this.#selected !== null && !this.#path.key(this.#selected)) this.#selected = null;
    this.#transport?.changed();
    if (this.open && this.#plan && this.#path.keys.length > 0) this.#sampler.request(this.#path.asked(this.#where));
    else this.#forgetSample();
    this.#redraw();
  }

  #forgetSample() {
    this.#sampler.forget();
    this.#sample = null;
    this.#poses = [];
    this.#refusal = '';
  }

  /** @param {import('./requests.js').Sample} answer */
  #sampled(answer) {
    this.#sample = answer;
    this.#poses = answer.frames.map(poseOfFrame);
    this.#refusal = '';
    this.#path.reached(answer.at);
    this.#redraw();
  }

  /** @param {string} sentence */
  #refused(sentence) {
    this.#refusal = sentence.replace(/^Keys\.(\d+)\.(\w+)/, (_, index, field) => `Key pose ${Number(index) + 1}, ${field}`);
    this.#redraw();
  }

  /** Uploads the path as the file that is exported. Returns its name on the server. */
  async #upload() {
    return (await upload(await filed(this.#path.asked(this.#where), 'flashdreams'), this.#fps)).name;
  }

  /** @param {number} since */
  async #readWalk(since) {
    this.#read(await readWalk(this.#path, this.#session.info?.token ?? '', since, this.#where, this.#fps));
  }

  #readFiles() {
    const files = [...this.#part('file').files];
    this.#part('file').value = '';
    if (files.length > 0) this.#on.attempt(async () => this.#read(await readFiles(this.#path, files, this.#where, this.#fps)));
  }

  #readShipped() {
    const name = this.#part('shipped').value;
    this.#part('shipped').value = '';
    if (name) this.#on.attempt(async () => this.#read(await readNamed(this.#path, name, this.#where)));
  }

  /** The path was read from a file or a walk. @param {string} remark */
  #read(remark) {
    this.#selected = null;
    this.#transport.scrub(0);
    this.#view.fit(this.#path.keys);
    this.#on.toast(remark);
  }

  #save() {
    const format = this.#part('export').value;
    this.#part('export').value = '';
    if (!format) return;
    if (this.#path.keys.length === 0) {
      this.#on.toast(NOTHING);
      return;
    }
    const { scene, seed } = this.#where;
    this.#on.attempt(async () => {
      await saveFile(this.#path, format, this.#where);
      this.#on.toast(`Saved. make clip TRAJECTORY=… ARGS="--scene ${scene} --seed ${seed}" renders it to the same frames.`);
    });
  }

  #redraw() {
    if (this.#drawing || !this.open) return;
    this.#drawing = true;
    requestAnimationFrame((now) => {
      this.#drawing = false;
      if (this.open) this.#draw(now);
    });
  }

  /** @param {number} now */
  #draw(now) {
    const running = this.#transport.advance(now);
    const moving = this.#live.advance(now);
    if (!this.#view.placed && this.#plan) this.#fit();
    const { doing, frame, covered, recording, trail } = this.#transport;
    /** @type {import('./map.js').MapState} */
    const state = {
      plan: this.#plan, eye: this.#eye, frames: this.#poses, keys: this.#path.keys, selected: this.#selected, live: this.#live.now, trail, covered,
      ghost: doing === 'preview' || (doing !== 'dream' && frame > 0) ? this.#poses[frame] ?? null : null, refused: this.#refusal !== '',
    };
    this.#view.draw(state);
    this.#overlay.draw(state);
    this.#inspector.draw(this.#plan);
    this.#timeline.draw({
      frames: this.#poses.length, fps: this.#fps, at: this.#sample?.at ?? [], keys: this.#path.keys, selected: this.#selected, covered, recording, frame,
    });
    this.#toolbar.draw({ transport: this.#transport, path: this.#path, frames: this.#poses.length, refusal: this.#refusal, moved: this.#sample?.moved ?? 0 });
    if (doing === 'dream') this.#transport.fetchThumbs();
    if (running || moving) this.#redraw();
  }

  /** Pose from which the frame on screen was seen; the playhead may point at an earlier chunk. */
  get #eye() {
    const { chunkHere, recording, doing } = this.#transport;
    const frame = doing === 'rest' && chunkHere && !this.#on.preview.hidden ? recording?.frameOf(chunkHere.index) : null;
    return (frame == null ? null : this.#poses[frame]) ?? this.#live.now;
  }
}
