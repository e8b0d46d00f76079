/** The line of time under the picture: what is dreamed as small pictures, the key poses as marks, and the playhead to drag. */

const PICTURES = 14;
/** More key poses than this have no room for their numbers. */
export const MANY_KEYS = 18;

export class Timeline {
  #root;
  #on;
  #shown = '';

  /** `on.scrub(frame)`: the playhead was dragged; `on.key(id)`: a mark was chosen. */
  constructor(root, on) {
    this.#root = root;
    this.#on = on;
    const slider = this.#part('slider');
    slider.addEventListener('input', () => on.scrub(Number(slider.value)));
  }

  /** `{frames, fps, at, keys, selected, covered, take, frame}`: how many frames, key times in s, what is dreamed, the playhead. */
  draw({ frames, fps, at, keys, selected, covered, take, frame }) {
    const last = Math.max(0, frames - 1);
    const slider = this.#part('slider');
    slider.max = String(last);
    slider.disabled = last === 0;
    slider.value = String(frame);
    const said = `${time(frame / fps)} of ${time(last / fps)}`;
    slider.setAttribute('aria-valuetext', said);
    slider.style.setProperty('--share', String(last ? frame / last : 0));
    this.#part('time').textContent = said;
    this.#part('covered').style.width = `${last ? (100 * Math.max(0, covered - 1)) / last : 0}%`;
    this.#drawPictures(take, covered, last);
    this.#drawMarks(keys, at, selected, last / fps);
  }

  #part(name) {
    return this.#root.querySelector(`#steer-${name}`);
  }

  #drawPictures(take, covered, last) {
    const middles = Array.from({ length: PICTURES }, (_, i) => Math.round(((i + 0.5) / PICTURES) * last));
    const thumbs = middles.map((middle) => (take && last && middle < covered ? take.thumbAt(middle) : null));
    const key = thumbs.map((thumb) => (thumb ? thumb.length + thumb.slice(-24) : '')).join();
    if (key === this.#shown) return;
    this.#shown = key;
    this.#part('pictures').replaceChildren(...thumbs.map((thumb) => {
      if (!thumb) return document.createElement('i');
      return Object.assign(new Image(), { alt: '', src: thumb, draggable: false });
    }));
  }

  #drawMarks(keys, at, selected, seconds) {
    const place = this.#part('marks');
    place.classList.toggle('dense', keys.length > MANY_KEYS);
    place.classList.toggle('dense', keys.length > MANY_KEYS);
    while (place.children.length > keys.length) place.lastChild.remove();
    while (place.children.length < keys.length) place.append(this.#mark());
    keys.forEach((key, i) => {
      const mark = place.children[i];
      mark.hidden = at[i] === undefined || seconds === 0;
      mark.dataset.key = String(key.id);
      mark.textContent = String(i + 1);
      mark.style.left = `${seconds ? (100 * at[i]) / seconds : 0}%`;
      mark.setAttribute('aria-label', `Key pose ${i + 1} at ${time(at[i] ?? 0)}`);
      mark.setAttribute('aria-pressed', String(key.id === selected));
    });
  }

  #mark() {
    const mark = Object.assign(document.createElement('button'), { type: 'button' });
    mark.addEventListener('click', () => this.#on.key(Number(mark.dataset.key)));
    return mark;
  }
}

/** `62.25` -> `1:02.3`. */
export function time(seconds) {
  const tenths = Math.round(10 * seconds);
  const rest = tenths % 600;
  return `${Math.floor(tenths / 600)}:${String(Math.floor(rest / 10)).padStart(2, '0')}.${rest % 10}`;
}
