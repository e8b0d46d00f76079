/** The path in the hand: key poses and their pace, with every change to be undone; the browser keeps the unfinished one. */

import { keep, recall } from '../lib/store.js';

const STORE = 'path';
const UNDO_KEPT = 200;
const EMPTY = Object.freeze({ keys: [], pace: 'speed', speed: 1.5, turn: 40, seconds: 10, easing: 'none', closed: false });
const NUMBERS = ['x', 'y', 'z', 'yaw', 'pitch', 'roll'];

export class PathDocument {
  #now;
  #before = [];
  #after = [];
  #merging = null;
  #next = 1;
  #onChange;

  /** `onChange()`: something is different now. */
  constructor(onChange) {
    this.#onChange = onChange;
    this.#now = this.#recalled();
  }

  /** `{keys, pace, speed, turn, seconds, easing, closed}`; keys are `{id, x, y, z, yaw, pitch, roll, at}`, `along` if they look along the path by themselves. Never changed in place. */
  get now() {
    return this.#now;
  }

  get keys() {
    return this.#now.keys;
  }

  get canUndo() {
    return this.#before.length > 0;
  }

  get canRedo() {
    return this.#after.length > 0;
  }

  /** The key called `id`, or null. */
  key(id) {
    return this.keys.find((key) => key.id === id) ?? null;
  }

  /** Changes fields of the path. Changes with the same `merge` in a row, as of one drag, are undone together. */
  set(fields, merge = null) {
    if (merge === null || merge !== this.#merging) {
      this.#before = [...this.#before, this.#now].slice(-UNDO_KEPT);
      this.#after = [];
    }
    this.#merging = merge;
    this.#take({ ...this.#now, ...fields });
  }

  /** A drag has ended: the next change is one of its own. */
  settle() {
    this.#merging = null;
  }

  /** Adds a key before the one that is at `index`; its id. Without `at` it is reached when the way there says. */
  add(pose, index = this.keys.length) {
    const id = this.#next++;
    const key = { y: null, pitch: 0, roll: 0, at: null, ...pose, id };
    this.set({ keys: this.#keptInTime([...this.keys.slice(0, index), key, ...this.keys.slice(index)]) }, `add ${id}`);
    return id;
  }

  /** Changes the key `id`. */
  move(id, fields, merge = null) {
    this.set({ keys: this.keys.map((key) => (key.id === id ? { ...key, ...fields } : key)) }, merge);
  }

  remove(id) {
    this.set({ keys: this.keys.filter((key) => key.id !== id) });
  }

  /** Moves the key `id` to the place `index`; times stay in their order. */
  reorder(id, index) {
    const times = this.keys.map(({ at }) => at);
    const others = this.keys.filter((key) => key.id !== id);
    const keys = [...others.slice(0, index), this.key(id), ...others.slice(index)];
    this.set({ keys: keys.map((key, i) => ({ ...key, at: times[i] })) });
  }

  /** Other keys altogether, as read from a file; `fields` as in `set`. */
  replace(keys, fields = {}) {
    this.set({ ...fields, keys: keys.map((key) => ({ at: null, ...key, id: this.#next++ })) });
  }

  /** The server says when each key is reached; no change of the visitor's. */
  reached(at) {
    if (this.#now.pace === 'times' || at.length !== this.keys.length) return;
    this.#now = { ...this.#now, keys: this.keys.map((key, i) => ({ ...key, at: at[i] })) };
  }

  clear() {
    this.set({ keys: [] });
  }

  undo() {
    this.#step(this.#before, this.#after);
  }

  redo() {
    this.#step(this.#after, this.#before);
  }

  /** As the server takes it. */
  asked({ scene, seed }) {
    const { pace, speed, turn, seconds, easing, closed } = this.#now;
    const keys = this.keys.map(({ x, y, z, yaw, pitch, roll, at }) => ({ x, y, z, yaw, pitch, roll, at: pace === 'times' ? at : null }));
    return { scene, seed, keys, pace, speed, turn, seconds, easing, closed };
  }

  #step(from, to) {
    const state = from.pop();
    if (!state) return;
    to.push(this.#now);
    this.#merging = null;
    this.#take(state);
  }

  #take(state) {
    this.#now = state;
    keep(STORE, state.keys.length > 0 ? JSON.stringify(state) : null);
    this.#onChange();
  }

  /** With times of their own, a key put between others lies between them in time, and one at the end comes later. */
  #keptInTime(keys) {
    if (this.#now.pace !== 'times') return keys;
    return keys.map((key, i) => {
      if (key.at !== null) return key;
      const [before, after] = [keys[i - 1]?.at, keys[i + 1]?.at];
      if (before === undefined) return { ...key, at: after === undefined ? 0 : after - 1 };
      if (after !== undefined) return { ...key, at: (before + after) / 2 };
      return { ...key, at: before + Math.max(0.5, Math.hypot(key.x - keys[i - 1].x, key.z - keys[i - 1].z) / this.#now.speed) };
    });
  }

  #recalled() {
    try {
      const kept = { ...EMPTY, ...JSON.parse(recall(STORE) ?? '{}') };
      const sound = Array.isArray(kept.keys) && kept.keys.every((key) => NUMBERS.every((name) => Number.isFinite(key[name]) || (name === 'y' && key.y === null)));
      if (!sound) return EMPTY;
      return { ...kept, keys: kept.keys.map((key) => ({ ...key, id: this.#next++ })) };
    } catch {
      return EMPTY; // not written by this page
    }
  }
}
