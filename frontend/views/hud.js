// @ts-check
/** The HUD: few, all or no figures in the corner, and the same as text for a report. */

import { mib } from '../lib/format.js';
import { STAGES, quantile } from '../net/latency.js';
import { recall, store } from '../lib/store.js';
import { plotStages, plotTimes } from './plots.js';

/** @typedef {import('../players/factory.js').PlayedChunk} PlayedChunk */
/**
 * Values that the HUD shows.
 * @typedef {object} HudValues
 * @property {import('../net/session.js').Session['stats']} stats
 * @property {number[]} latencies
 * @property {import('../net/stream_stats.js').ChunkTimes[]} timeline
 * @property {PlayedChunk | null} chunk
 * @property {import('../net/session.js').SessionInfo | null} info
 * @property {string | null} state
 * @property {string | null} player
 * @property {import('../net/messages.d.ts').ServerMessages['history'] | null} history
 */

const EVERY_MS = 250;
/** @type {Record<string, string>} */
const STATES = { live: 'dreaming', idle: 'waiting for a key', paused: 'paused' };
const LEVELS = ['few', 'all', 'none'];

export class Hud {
  /** @type {HTMLElement} */
  #root;
  #read;
  /** @type {number[]} */
  #frames = [];
  #cells = 0;

  /**
   * @param {HTMLElement} root
   * @param {() => HudValues} read
   */
  constructor(root, read) {
    this.#root = root;
    this.#read = read;
    this.#legend();
    this.level = recall('hud') ?? 'few';
    setInterval(() => !document.hidden && this.level !== 'none' && this.#draw(read()), EVERY_MS);
  }

  /** `few`, `all` or `none`. */
  get level() {
    return this.#root.dataset.level ?? 'few';
  }

  set level(level) {
    this.#root.dataset.level = LEVELS.includes(level) ? level : 'few';
    this.#root.hidden = this.level === 'none';
  }

  /** Shows more, then nothing, then few again; remembered for the next visit. */
  next() {
    this.level = LEVELS[(LEVELS.indexOf(this.level) + 1) % LEVELS.length];
    store('hud', this.level);
    if (this.level !== 'none') this.#draw(this.#read());
  }

  /**
   * Counts a frame on screen.
   * @param {number} now
   */
  frame(now) {
    this.#frames.push(now);
    if (this.#frames.length > 240) this.#frames.shift();
  }

  /** Frames shown in the last second. */
  get fps() {
    const since = performance.now() - 1000;
    return this.#frames.filter((at) => at > since).length;
  }

  /** Returns all figures as lines of text. */
  report() {
    const { stats, timeline, chunk, info, player, history } = this.#read();
    const { latency } = stats;
    const budget = info ? (1000 * info.frames_per_chunk) / info.fps : 0;
    /** @param {string} name @param {string} text */
    const line = (name, text) => `${name.padEnd(16)} ${text}`;
    return [
      'flashdreams report',
      line('world', `${info?.world ?? '?'}, scene ${info?.scene ?? '?'}, seed ${info?.seed ?? '?'}, chunk ${chunk?.index ?? '?'}`),
      line('video', `${info?.width} x ${info?.height}, ${info?.fps} fps asked, ${this.fps} fps shown in the last second`),
      line('player', `${player}, ${info?.mime}`),
      line('key to picture', `now ${ms(latency.last)}, median ${ms(latency.median)}, p95 ${ms(latency.p95)}, ${latency.count} presses`),
      ...STAGES.map((stage) => line(`  ${stage}`, `median ${ms(quantile(timeline.map((one) => one[stage]), 0.5))}`)),
      line('model per chunk', `${ms(busy(chunk))} of ${ms(budget)}`),
      line('KV window', info ? `${Math.round((chunk?.kv_fill ?? 0) * info.window_chunks)} of ${info.window_chunks} chunks` : '?'),
      line('stream', `${Math.round(stats.kbps)} kbit/s, ${stats.waiting} chunks waiting, round trip ${ms(stats.trip)}`),
      line('player counts', Object.entries(stats.player ?? {}).map(([name, value]) => `${name} ${Math.round(1000 * value) / 1000}`).join(', ')),
      line('snapshots', history ? `${history.snapshots}, ${mib(history.bytes)} of ${mib(history.limit_bytes)}` : 'none'),
      line('browser', navigator.userAgent),
      line('window', `${innerWidth} x ${innerHeight} at ${devicePixelRatio}`),
      line('time', new Date().toISOString()),
    ].join('\n');
  }

  /**
   * @param {string} name
   * @returns {any}
   */
  #part(name) {
    return this.#root.querySelector(`#hud-${name}`);
  }

  /**
   * @param {string} name
   * @param {string | number} text
   */
  #write(name, text) {
    const element = this.#part(name);
    if (element.textContent !== String(text)) element.textContent = text;
  }

  /** @param {HudValues} values */
  #draw({ stats, latencies, timeline, chunk, info, state, player, history }) {
    const { latency } = stats;
    this.#write('fps', state === 'live' || this.fps > 0 ? this.fps : '–');
    this.#write('latency', latency.last === null ? '–' : Math.round(latency.last));
    this.#write('median', latency.median === null ? '' : `median ${Math.round(latency.median)}`);
    this.#write('chunk', chunk ? Math.round(busy(chunk)) : '–');
    const budget = info ? (1000 * info.frames_per_chunk) / info.fps : 0;
    this.#write('budget', info ? `of ${Math.round(budget)}` : '');
    this.#write('state', STATES[state ?? ''] ?? '–');
    this.#root.dataset.state = state ?? '';
    this.#memory(info?.window_chunks ?? 0, chunk?.kv_fill ?? 0);
    if (this.level !== 'all') return;
    this.#write('p95', latency.p95 === null ? '–' : Math.round(latency.p95));
    this.#write('times-top', `${plotTimes(this.#part('times'), latencies)} ms`);
    this.#write('stages-top', `${plotStages(this.#part('stages'), timeline, budget)} ms`);
    for (const stage of STAGES) this.#write(`stage-${stage}`, plain(quantile(timeline.slice(-20).map((one) => one[stage]), 0.5)));
    this.#write('queue', stats.waiting);
    this.#write('bitrate', Math.round(stats.kbps));
    this.#write('trip', plain(stats.trip));
    this.#write('player', player ?? '–');
    this.#write('snapshots', history ? `${mib(history.bytes)} of ${mib(history.limit_bytes)}` : '–');
  }

  /**
   * Draws how full the KV window is.
   * @param {number} cells
   * @param {number} fill 0 to 1
   */
  #memory(cells, fill) {
    const memory = this.#part('memory');
    if (cells !== this.#cells) {
      this.#cells = cells;
      memory.replaceChildren(...Array.from({ length: Math.min(cells, 32) }, () => document.createElement('i')));
    }
    const full = Math.round(fill * memory.children.length);
    [...memory.children].forEach((/** @type {Element} */ cell, i) => cell.classList.toggle('full', i < full));
    const label = `${Math.round(fill * cells)} of ${cells} chunks`;
    if (memory.getAttribute('aria-label') !== label) memory.setAttribute('aria-label', label);
  }

  #legend() {
    this.#part('legend').replaceChildren(...STAGES.map((stage) => {
      const entry = document.createElement('span');
      entry.dataset.stage = stage;
      entry.append(stage, ' ', Object.assign(document.createElement('b'), { id: `hud-stage-${stage}`, textContent: '–' }));
      return entry;
    }));
  }
}

/**
 * Returns the time of model and encoder for a chunk in ms.
 * @param {PlayedChunk | null} chunk
 */
function busy(chunk) {
  const { generate = 0, encode = 0, finalize = 0 } = chunk?.timings ?? {};
  return generate + encode + finalize;
}

/** @param {number | null} value */
function plain(value) {
  return value === null ? '–' : value < 9.95 ? value.toFixed(1) : Math.round(value);
}

/** @param {number | null} value */
function ms(value) {
  return value === null ? 'unknown' : `${plain(value)} ms`;
}
