/** The figures in the corner: frames per second, key to picture, chunk time against its play time, KV window. */

const EVERY_MS = 250;
const STATES = { live: 'dreaming', idle: 'waiting for a key', paused: 'paused' };

export class Hud {
  #root;
  #parts;
  #frames = [];
  #cells = 0;

  /** `root`: the list element; its parts are found by id. `read()` gives `{latency, chunk, info, state}`. */
  constructor(root, read) {
    this.#root = root;
    const part = (name) => root.querySelector(`#hud-${name}`);
    this.#parts = Object.fromEntries(['fps', 'latency', 'median', 'chunk', 'budget', 'memory', 'state'].map((name) => [name, part(name)]));
    setInterval(() => !document.hidden && !root.hidden && this.#draw(read()), EVERY_MS);
  }

  get visible() {
    return !this.#root.hidden;
  }

  /** Shows or hides it, and remembers for the next visit. */
  toggle(visible = !this.visible) {
    this.#root.hidden = !visible;
    try {
      localStorage.setItem('flashdreams.hud', visible ? '1' : '0');
    } catch {
      // private windows may forbid storage; then it is not remembered
    }
  }

  /** As the visitor left it. */
  restore() {
    try {
      this.toggle(localStorage.getItem('flashdreams.hud') !== '0');
    } catch {
      this.toggle(true);
    }
  }

  /** A frame came on screen at `now`. */
  frame(now) {
    this.#frames.push(now);
    if (this.#frames.length > 240) this.#frames.shift();
  }

  /** Frames shown in the last second. */
  get fps() {
    const since = performance.now() - 1000;
    return this.#frames.filter((at) => at > since).length;
  }

  #draw({ latency, chunk, info, state }) {
    const parts = this.#parts;
    write(parts.fps, state === 'live' || this.fps > 0 ? this.fps : '–');
    write(parts.latency, latency.last === null ? '–' : Math.round(latency.last));
    write(parts.median, latency.median === null ? '' : `median ${Math.round(latency.median)}`);
    const { generate = 0, encode = 0, finalize = 0 } = chunk?.timings ?? {};
    write(parts.chunk, chunk ? Math.round(generate + encode + finalize) : '–');
    write(parts.budget, info ? `of ${Math.round((1000 * info.frames_per_chunk) / info.fps)}` : '');
    write(parts.state, STATES[state] ?? '–');
    this.#root.dataset.state = state ?? '';
    this.#memory(info?.window_chunks ?? 0, chunk?.kv_fill ?? 0);
  }

  #memory(cells, fill) {
    const { memory } = this.#parts;
    if (cells !== this.#cells) {
      this.#cells = cells;
      memory.replaceChildren(...Array.from({ length: Math.min(cells, 32) }, () => document.createElement('i')));
    }
    const full = Math.round(fill * memory.children.length);
    [...memory.children].forEach((cell, i) => cell.classList.toggle('full', i < full));
    const label = `${Math.round(fill * cells)} of ${cells} chunks`;
    if (memory.getAttribute('aria-label') !== label) memory.setAttribute('aria-label', label);
  }
}

function write(element, text) {
  if (element.textContent !== String(text)) element.textContent = text;
}
