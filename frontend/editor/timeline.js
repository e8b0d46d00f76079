// @ts-check
/** The timeline: thumbnails of generated frames, marks at the keyframes, and the playhead. */

import { clockTime } from '../lib/format.js';

/** @typedef {import('./camera_path.js').Keyframe} Keyframe */
/**
 * State to draw: number of frames, keyframes with their times in s, number of frames generated, the playhead.
 * @typedef {{frames: number, fps: number, at: number[], keys: Keyframe[], selected: number | null, covered: number, recording: import('./recording_map.js').RecordingMap | null, frame: number}} TimelineState
 */

const THUMBNAILS = 14;
/** With more keyframes than this, their numbers have no room. */
export const MANY_KEYS = 18;

export class Timeline {
  /** @type {HTMLElement} */
  #root;
  #on;
  #shown = '';

  /**
   * @param {HTMLElement} root
   * @param {{scrub: (frame: number) => void, key: (id: number) => void}} on the playhead was dragged; a mark was chosen
   */
  constructor(root, on) {
    this.#root = root;
    this.#on = on;
    const slider = this.#part('slider');
    slider.addEventListener('input', () => on.scrub(Number(slider.value)));
  }

  /** @param {TimelineState} state */
  draw({ frames, fps, at, keys, selected, covered, recording, frame }) {
    const last = Math.max(0, frames - 1);
    const slider = this.#part('slider');
    slider.max = String(last);
    slider.disabled = last === 0;
    slider.value = String(frame);
    const said = `${clockTime(frame / fps)} of ${clockTime(last / fps)}`;
    slider.setAttribute('aria-valuetext', said);
    slider.style.setProperty('--share', String(last ? frame / last : 0));
    this.#part('time').textContent = said;
    this.#part('covered').style.width = `${last ? (100 * Math.max(0, covered - 1)) / last : 0}%`;
    this.#drawThumbnails(recording, covered, last);
    this.#drawMarks(keys, at, selected, last / fps);
  }

  /**
   * @param {string} name
   * @returns {any}
   */
  #part(name) {
    return this.#root.querySelector(`#editor-${name}`);
  }

  /**
   * @param {TimelineState['recording']} recording
   * @param {number} covered
   * @param {number} last
   */
  #drawThumbnails(recording, covered, last) {
    const middles = Array.from({ length: THUMBNAILS }, (_, i) => Math.round(((i + 0.5) / THUMBNAILS) * last));
    const thumbs = middles.map((middle) => (recording && last && middle < covered ? recording.thumbAt(middle) : null));
    const key = thumbs.map((thumb) => (thumb ? thumb.length + thumb.slice(-24) : '')).join();
    if (key === this.#shown) return;
    this.#shown = key;
    this.#part('thumbnails').replaceChildren(...thumbs.map((thumb) => {
      if (!thumb) return document.createElement('i');
      return Object.assign(new Image(), { alt: '', src: thumb, draggable: false });
    }));
  }

  /**
   * @param {Keyframe[]} keys
   * @param {number[]} at
   * @param {number | null} selected
   * @param {number} seconds
   */
  #drawMarks(keys, at, selected, seconds) {
    const place = this.#part('marks');
    place.classList.toggle('dense', keys.length > MANY_KEYS);
    while (place.children.length > keys.length) place.lastChild.remove();
    while (place.children.length < keys.length) place.append(this.#mark());
    keys.forEach((key, i) => {
      const mark = place.children[i];
      mark.hidden = at[i] === undefined || seconds === 0;
      mark.dataset.key = String(key.id);
      mark.textContent = String(i + 1);
      mark.style.left = `${seconds ? (100 * at[i]) / seconds : 0}%`;
      mark.setAttribute('aria-label', `Key pose ${i + 1} at ${clockTime(at[i] ?? 0)}`);
      mark.setAttribute('aria-pressed', String(key.id === selected));
    });
  }

  #mark() {
    const mark = Object.assign(document.createElement('button'), { type: 'button' });
    mark.addEventListener('click', () => this.#on.key(Number(mark.dataset.key)));
    return mark;
  }
}
