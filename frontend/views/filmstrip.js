// @ts-check
/** The filmstrip: thumbnails of the last minutes, to rewind to any chunk of this branch or another one. */

import { lineTo, ownChunks, tipsOf } from '../net/branches.js';
import { mib } from '../lib/format.js';

/** @typedef {{index: number, parent: number, reachable: boolean, thumb: string | null}} StripChunk */
/** @typedef {{head: number, chunks: StripChunk[]}} Strip The server's filmstrip; `head`: the chunk that the next one continues. */

const FRAMES_SHOWN = 16;

export class Filmstrip {
  /** @type {HTMLElement} */
  #root;
  /** @type {HTMLImageElement} */
  #preview;
  /** @type {StripChunk[]} */
  #chunks = [];
  /** @type {StripChunk[]} */
  #line = [];
  #head = -1;
  #secondsPerChunk = 1;

  /**
   * @param {HTMLElement} root
   * @param {HTMLImageElement} preview image over the stage
   * @param {{rewind: (chunk: number) => void, close: () => void}} on `close`: closed without a choice
   */
  constructor(root, preview, on) {
    this.#root = root;
    this.#preview = preview;
    this.#part('close').addEventListener('click', () => on.close());
    this.#part('slider').addEventListener('input', () => this.#point());
    this.#part('form').addEventListener('submit', (/** @type {Event} */ event) => {
      event.preventDefault();
      const chunk = this.#pointed;
      if (chunk) on.rewind(chunk.index);
    });
    root.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || event.target !== this.#part('slider')) return;
      event.preventDefault();
      this.#part('form').requestSubmit();
    });
  }

  /** The chunk that the next one would continue. */
  get head() {
    return this.#head;
  }

  get open() {
    return !this.#root.hidden;
  }

  /**
   * Shows it.
   * @param {Strip} strip
   * @param {import('../net/messages.d.ts').ServerMessages['history'] | null} history
   * @param {number} secondsPerChunk
   */
  show(strip, history, secondsPerChunk) {
    this.#chunks = strip.chunks.filter(({ reachable }) => reachable);
    this.#head = strip.head;
    this.#secondsPerChunk = secondsPerChunk;
    this.#root.hidden = false;
    this.#part('kept').textContent = history
      ? `${this.#chunks.length} chunks can be gone back to; they take ${mib(history.bytes)} of ${mib(history.limit_bytes)}.`
      : '';
    this.#drawBranches();
    this.#choose(strip.head);
    this.#part('slider').focus({ preventScroll: true });
  }

  close() {
    this.#root.hidden = true;
    this.#preview.hidden = true;
    this.#preview.removeAttribute('src');
  }

  get #pointed() {
    return this.#line[Number(this.#part('slider').value)] ?? null;
  }

  /**
   * @param {string} name
   * @returns {any}
   */
  #part(name) {
    return this.#root.querySelector(`#filmstrip-${name}`);
  }

  /**
   * Selects the branch that ends in `tip`.
   * @param {number} tip
   */
  #choose(tip) {
    this.#line = lineTo(this.#chunks, tip);
    const slider = this.#part('slider');
    slider.max = String(Math.max(0, this.#line.length - 1));
    slider.value = slider.max;
    slider.disabled = this.#line.length === 0;
    this.#part('go').disabled = this.#line.length === 0;
    const step = Math.max(1, this.#line.length / FRAMES_SHOWN);
    const shown = Array.from({ length: Math.min(FRAMES_SHOWN, this.#line.length) }, (_, i) => this.#line[Math.floor((i + 0.5) * step)]);
    this.#part('frames').replaceChildren(...shown.map((chunk) => thumbnail(chunk.thumb ?? this.#nearest(chunk))));
    for (const button of this.#part('branches').children) button.setAttribute('aria-pressed', String(Number(button.dataset.tip) === tip));
    this.#point();
  }

  /** Shows the chunk that the slider points at. */
  #point() {
    const chunk = this.#pointed;
    const back = chunk ? this.#secondsBack(chunk) : 0;
    const words = !chunk ? 'Nothing is kept yet.' : chunk.index === this.#head ? 'Now' : `${seconds(back)} before the end of this branch`;
    this.#part('where').textContent = words;
    const slider = this.#part('slider');
    slider.setAttribute('aria-valuetext', words);
    slider.style.setProperty('--share', slider.max === '0' ? 1 : slider.value / slider.max);
    const thumb = chunk && (chunk.thumb ?? this.#nearest(chunk));
    this.#preview.hidden = !thumb || chunk.index === this.#head;
    if (thumb) this.#preview.src = thumb;
    this.#part('go').textContent = chunk?.index === this.#head ? 'Walk on' : 'Walk on from here';
  }

  /** @param {StripChunk} chunk */
  #secondsBack(chunk) {
    return (this.#line.length - 1 - this.#line.indexOf(chunk)) * this.#secondsPerChunk;
  }

  /**
   * Returns the thumbnail of the last chunk up to this one that has one.
   * @param {StripChunk} chunk
   */
  #nearest(chunk) {
    const at = this.#line.indexOf(chunk);
    return this.#line.slice(0, at + 1).findLast(({ thumb }) => thumb)?.thumb ?? this.#line.find(({ thumb }) => thumb)?.thumb ?? '';
  }

  #drawBranches() {
    const tips = [this.#head, ...tipsOf(this.#chunks).filter((tip) => tip !== this.#head)].filter((tip) => lineTo(this.#chunks, tip).length > 0);
    const place = this.#part('branches');
    place.hidden = tips.length < 2;
    place.replaceChildren(...tips.map((tip) => this.#branch(tip)));
  }

  /** @param {number} tip */
  #branch(tip) {
    const own = ownChunks(this.#chunks, tip, this.#head);
    const line = lineTo(this.#chunks, tip);
    const thumb = line.findLast((chunk) => chunk.thumb)?.thumb ?? '';
    const words = tip === this.#head ? 'This branch' : `Left behind: ${seconds(own.length * this.#secondsPerChunk)}`;
    const button = Object.assign(document.createElement('button'), { type: 'button' });
    button.dataset.tip = String(tip);
    button.append(thumbnail(thumb), Object.assign(document.createElement('span'), { textContent: words }));
    button.addEventListener('click', () => this.#choose(tip));
    return button;
  }
}

/** @param {string} source */
function thumbnail(source) {
  return Object.assign(new Image(), { alt: '', src: source, draggable: false });
}

/** @param {number} value */
function seconds(value) {
  return value < 9.95 ? `${value.toFixed(1)} s` : `${Math.round(value)} s`;
}
