/** The trajectory editor: a path of key poses over the live dream, planned on a map, in the picture and in numbers. */

import { between, poseOf, poseOfFrame } from './geometry.js';
import { readFiles, readNamed, readWalk, saveFile } from './files.js';
import { MapHands } from './map_controls.js';
import { Inspector } from './inspector.js';
import { MapView } from './map.js';
import { PathDocument } from './camera_path.js';
import { PictureView } from './path_overlay.js';
import { Sampler, filed, planOf, upload } from './requests.js';
import { Timeline } from './timeline.js';
import { Transport } from './transport.js';

const NOTHING = 'There is no path yet: place key poses first.';

export class Editor {
  #root;
  #over;
  #session;
  #on;
  #path = new PathDocument(() => this.#changed());
  #transport;
  #view;
  #picture;
  #inspector;
  #timeline;
  #sampler = new Sampler({ sampled: (answer) => this.#sampled(answer), refused: (sentence) => this.#refused(sentence) });
  #plan = null;
  #planOf = '';
  #sample = null;
  #poses = [];
  #selected = null;
  #refusal = '';
  #live = null;
  #drawing = false;
  #dreamOf = null;

  /**
   * `root`: the section; `stage`: what shows the picture; `on.toast(text)`, `on.attempt(work)` runs what may fail with a
   * sentence, `on.closed()`, `on.preview(source)` shows a picture over the stage or none, `on.previewed()` whether it does, `on.saveVideo(seconds)`.
   */
  constructor(root, stage, session, on) {
    this.#root = root;
    this.#over = stage.querySelector('#steer-over');
    this.#session = session;
    this.#on = on;
    this.#transport = new Transport(session, {
      sample: () => this.#sample, fps: () => this.#fps, unready: () => this.#unready, settled: () => this.#sampler.settled(), file: () => this.#handOver(), walked: (since) => this.#readWalk(since),
      closed: () => this.#path.now.closed, say: on.toast, attempt: on.attempt, preview: on.preview, redraw: () => this.#redraw(),
    });
    const hands = {
      selected: () => this.#selected, select: (id) => this.#select(id), selectNext: (step) => this.#selectNext(step),
      frames: () => this.#poses, secondsOf: (frame) => frame / this.#fps, redraw: () => this.#redraw(), open: () => this.open, eye: () => this.#live?.now ?? null,
    };
    this.#view = new MapView(this.#part('map'));
    new MapHands(this.#view, this.#path, hands);
    this.#picture = new PictureView(this.#over, stage, this.#path, hands);
    this.#inspector = new Inspector(root, this.#path, hands);
    this.#timeline = new Timeline(root, { scrub: (frame) => this.#transport.scrub(frame), key: (id) => this.#goToKey(id) });
    this.#wire();
  }

  get open() {
    return !this.#root.hidden;
  }

  /** See `Transport.doing`. */
  get doing() {
    return this.#transport.doing;
  }

  /** For tests and the curious. */
  get state() {
    const { doing, frame, covered } = this.#transport;
    return {
      open: this.open, doing, frame, covered, keys: this.#path.keys, selected: this.#selected, frames: this.#poses.length,
      busy: this.#sampler.busy, refusal: this.#refusal,
    };
  }

  show() {
    this.#root.hidden = this.#over.hidden = false;
    document.body.classList.add('steering');
    this.#readPlan();
    this.#changed();
  }

  close() {
    if (!this.open) return;
    this.#transport.close();
    this.#root.hidden = this.#over.hidden = true;
    document.body.classList.remove('steering');
    this.#on.closed();
  }

  /** Esc: what runs is stopped first. */
  back() {
    if (this.doing === 'rest') this.close();
    else this.#transport.stop();
  }

  /** The scene or the seed may be other ones. */
  info() {
    const { session } = this.#session.info;
    if (session !== this.#dreamOf) this.#transport.forget();
    this.#dreamOf = session;
    if (this.open) this.#readPlan();
  }

  /** The server has refused message `seq`. */
  refused(seq) {
    this.#transport.refused(seq);
  }

  /** A chunk has come. */
  arrived(chunk) {
    this.#transport.arrived(chunk);
    const to = poseOf(chunk.pose);
    const from = this.#live?.now ?? to;
    this.#live = { from, to, now: from, at: performance.now(), ms: (1000 * chunk.frames) / this.#fps };
    this.#redraw();
  }

  /** A chunk is on screen. */
  shown(chunk) {
    this.#transport.shown(chunk);
  }

  /** The visitor's keys or looks were sent as message `seq`. */
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

  /** A key pose where the camera stands. */
  here() {
    if (!this.#live) return;
    const { x, y, z, yaw, pitch, roll } = this.#live.to;
    const rounded = (value, per) => Math.round(per * value) / per;
    const height = this.#plan?.free_height ? rounded(y, 1000) : null;
    this.#select(this.#path.add({ x: rounded(x, 1000), y: height, z: rounded(z, 1000), yaw: rounded(yaw, 100), pitch: rounded(pitch, 100), roll: rounded(roll, 100) }));
  }

  get #fps() {
    return this.#plan?.fps ?? this.#session.info?.fps ?? 24;
  }

  get #where() {
    const { scene, seed } = this.#session.info;
    return { scene, seed, freeHeight: this.#plan?.free_height ?? true };
  }

  /** Why there is nothing to follow; empty where there is. */
  get #unready() {
    return this.#path.keys.length === 0 ? NOTHING : this.#refusal;
  }

  #part(name) {
    return this.#root.querySelector(`#steer-${name}`);
  }

  #wire() {
    const { transport: run, path } = { transport: this.#transport, path: this.#path };
    const commands = {
      close: () => this.close(), here: () => this.here(), record: () => run.record(), undo: () => path.undo(), redo: () => path.redo(), clear: () => path.clear(),
      delete: () => path.remove(this.#selected), earlier: () => this.#inspector.shift(-1), later: () => this.#inspector.shift(1),
      closer: () => this.#view.zoom(1.3), farther: () => this.#view.zoom(1 / 1.3), fit: () => this.#fit(), preview: () => run.preview(), dream: () => run.dream(),
      begin: () => run.scrub(0), on: () => run.dreamOn(), walk: () => run.walkOn(), import: () => this.#part('file').click(), video: () => this.#on.saveVideo(run.take.frames.length / this.#fps),
    };
    this.#root.addEventListener('click', (event) => {
      const button = event.target.closest('[data-steer]');
      if (!button) return;
      commands[button.dataset.steer]();
      this.#redraw();
    });
    this.#root.addEventListener('keydown', (event) => keepOwnKeys(event));
    document.addEventListener('keydown', (event) => this.open && this.#undoing(event), { capture: true });
    this.#part('file').addEventListener('change', () => this.#readFiles());
    this.#part('shipped').addEventListener('change', () => this.#readShipped());
    this.#part('export').addEventListener('change', () => this.#save());
    const resized = new ResizeObserver(() => this.#redraw());
    resized.observe(this.#part('map'));
    resized.observe(this.#over);
  }

  #undoing(event) {
    const key = event.key.toLowerCase();
    if (!(event.ctrlKey || event.metaKey) || !['z', 'y'].includes(key) || event.target.matches?.('input[data-typing]')) return;
    event.preventDefault();
    if (key === 'y' || event.shiftKey) this.#path.redo();
    else this.#path.undo();
  }

  #select(id) {
    this.#selected = id;
    this.#redraw();
  }

  #selectNext(step) {
    const { keys } = this.#path;
    const index = keys.findIndex(({ id }) => id === this.#selected) + step;
    this.#select(keys[Math.max(0, Math.min(keys.length - 1, index))]?.id ?? null);
  }

  #goToKey(id) {
    this.#select(id);
    const at = this.#sample?.at[this.#path.keys.findIndex((key) => key.id === id)];
    if (at !== undefined) this.#transport.scrub(Math.round(at * this.#fps));
  }

  /** Shows the path where there is one, or else all of the place, or what is around the camera. */
  #fit() {
    if (this.#path.keys.length > 1) {
      this.#view.fit([...this.#path.keys, ...this.#poses]);
      return;
    }
    const { x, z } = this.#plan?.map ? { x: 0, z: 0 } : this.#live?.to ?? this.#plan.start;
    const reach = this.#plan?.map?.radius ?? 4;
    this.#view.fit([-reach, reach].map((off) => ({ x: x + off, z: z + off })));
  }

  async #readPlan() {
    if (!this.#session.info) return;
    const where = this.#where;
    const key = `${where.scene} ${where.seed}`;
    if (key === this.#planOf) return;
    this.#planOf = key;
    await this.#on.attempt(async () => {
      const plan = await planOf(where);
      if (key !== this.#planOf) return;
      this.#plan = plan;
      this.#live ??= { from: plan.start, to: plan.start, now: plan.start, at: 0, ms: 1 };
      const shipped = this.#part('shipped');
      shipped.replaceChildren(shipped.options[0], ...plan.paths.map((name) => new Option(name.replace(/\.\w+$/, ''), name)));
      this.#changed();
    });
    if (!this.#plan) this.#planOf = ''; // it is asked for again when the editor opens again
  }

  /** The path is another one, or its scene. */
  #changed() {
    if (this.#selected !== null && !this.#path.key(this.#selected)) this.#selected = null;
    this.#transport?.changed();
    if (this.open && this.#plan && this.#path.keys.length > 0) this.#sampler.want(this.#path.asked(this.#where));
    else this.#forgetSample();
    this.#redraw();
  }

  #forgetSample() {
    this.#sampler.forget();
    this.#sample = null;
    this.#poses = [];
    this.#refusal = '';
  }

  #sampled(answer) {
    this.#sample = answer;
    this.#poses = answer.frames.map(poseOfFrame);
    this.#refusal = '';
    this.#path.reached(answer.at);
    this.#redraw();
  }

  #refused(sentence) {
    this.#refusal = sentence.replace(/^Keys\.(\d+)\.(\w+)/, (_, index, field) => `Key pose ${Number(index) + 1}, ${field}`);
    this.#redraw();
  }

  /** Hands the path over as the very file that is exported; resolves with its name on the server. */
  async #handOver() {
    return upload(await filed(this.#path.asked(this.#where), 'flashdreams'), this.#fps);
  }

  async #readWalk(since) {
    this.#read(await readWalk(this.#path, this.#session.info.token, since, this.#where, this.#fps));
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

  /** The path was read from elsewhere; `said` tells how it went. */
  #read(said) {
    this.#selected = null;
    this.#transport.scrub(0);
    this.#view.fit(this.#path.keys);
    this.#on.toast(said);
  }

  #save() {
    const format = this.#part('export').value;
    this.#part('export').value = '';
    if (!format) return;
    if (this.#path.keys.length === 0) {
      this.#on.toast(NOTHING);
      return;
    }
    const { scene, seed } = this.#session.info;
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

  #draw(now) {
    const running = this.#transport.advance(now);
    const share = this.#live ? Math.min(1, Math.max(0, (now - this.#live.at) / this.#live.ms)) : 1;
    if (this.#live) this.#live.now = between(this.#live.from, this.#live.to, share);
    if (!this.#view.placed && this.#plan) this.#fit();
    const { doing, frame, covered, take, trail } = this.#transport;
    const scene = {
      plan: this.#plan, eye: this.#eye, frames: this.#poses, keys: this.#path.keys, selected: this.#selected, live: this.#live?.now ?? null, trail, covered,
      ghost: doing === 'preview' || (doing !== 'dream' && frame > 0) ? this.#poses[frame] ?? null : null, refused: this.#refusal !== '',
    };
    this.#view.draw(scene);
    this.#picture.draw(scene);
    this.#inspector.draw(this.#plan);
    this.#timeline.draw({
      frames: this.#poses.length, fps: this.#fps, at: this.#sample?.at ?? [], keys: this.#path.keys, selected: this.#selected, covered, take, frame,
    });
    this.#drawButtons(doing);
    if (doing === 'dream') this.#transport.fetchThumbs();
    if (running || share < 1) this.#redraw();
  }

  /** Where the picture on screen was seen from: also one of a chunk that the playhead points at. */
  get #eye() {
    const { chunkHere, take, doing } = this.#transport;
    const dreamed = doing === 'rest' && chunkHere && this.#on.previewed() ? this.#poses[take.frameOf(chunkHere.index)] : null;
    return dreamed ?? this.#live?.now ?? null;
  }

  #drawButtons(doing) {
    this.#root.dataset.doing = doing;
    const set = (name, fields) => Object.assign(this.#root.querySelector(`[data-steer="${name}"]`), fields);
    set('undo', { disabled: !this.#path.canUndo });
    set('redo', { disabled: !this.#path.canRedo });
    set('clear', { disabled: this.#path.keys.length === 0 });
    set('preview', { disabled: this.#poses.length < 2 });
    const dreaming = doing === 'dream' || doing === 'asking';
    set('dream', { disabled: !dreaming && (this.#poses.length === 0 || this.#refusal !== '') });
    set('on', { hidden: !this.#transport.mayDreamOn });
    set('walk', { hidden: dreaming || !this.#transport.chunkHere });
    set('video', { hidden: !this.#transport.maySave });
    const label = (name, text) => write(this.#root.querySelector(`[data-steer="${name}"] span`), text);
    label('preview', doing === 'preview' ? 'Stop' : 'Preview');
    label('dream', dreaming ? 'Stop' : 'Dream it');
    label('record', doing === 'record' ? 'Make it the path' : 'Record a walk');
    this.#part('empty').hidden = this.#path.keys.length > 0;
    const moved = this.#sample?.moved ? `${this.#sample.moved} of ${this.#poses.length} frames go around what stands there.` : '';
    write(this.#part('note'), this.#refusal);
    write(this.#part('told'), this.#refusal ? '' : moved);
  }
}

/** Keys that move within a control are its own; the letters still walk. */
function keepOwnKeys(event) {
  const choosing = event.target.matches('select');
  if (/^(?:Arrow|Home|End|Page)/.test(event.key) ? choosing || event.target.matches('input[type="range"]') : choosing && event.key.length === 1) event.stopPropagation();
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text; // screen readers repeat what is written again
}
