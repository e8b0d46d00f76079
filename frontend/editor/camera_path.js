// @ts-check
/** The edited camera path: keyframes and pace, with undo; kept in this browser. */

/** @typedef {import('./geometry.js').Pose} Pose */
/** @typedef {Omit<Pose, 'y'> & {id: number, y: number | null, at: number | null, along?: boolean}} Keyframe `y` null: at the entrance's height. `at`: seconds. `along`: it looks along the path by itself. */
/** @typedef {'speed' | 'seconds' | 'times'} Pace */
/** @typedef {{keys: Keyframe[], pace: Pace, speed: number, turn: number, seconds: number, easing: string, closed: boolean}} PathState Never changed in place. */
/** @typedef {{scene: string, seed: number, session: string, freeHeight: boolean}} Where Scene, seed, token of the session, and whether the camera leaves the ground there. */

import { recall, store } from '../lib/store.js';

const STORE = 'path';
const UNDO_KEPT = 200;
/** @type {PathState} */
const EMPTY = Object.freeze({ keys: /** @type {Keyframe[]} */ ([]), pace: 'speed', speed: 1.5, turn: 40, seconds: 10, easing: 'none', closed: false });
const NUMBERS = /** @type {const} */ (['x', 'y', 'z', 'yaw', 'pitch', 'roll']);

export class CameraPath {
  /** @type {PathState} */
  #now;
  /** @type {PathState[]} */
  #before = [];
  /** @type {PathState[]} */
  #after = [];
  /** @type {string | null} */
  #merging = null;
  #next = 1;
  #onChange;

  /** @param {() => void} onChange */
  constructor(onChange) {
    this.#onChange = onChange;
    this.#now = this.#recalled();
  }

  /** The present state. */
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

  /**
   * Returns a keyframe, or null.
   * @param {number | null} id
   */
  key(id) {
    return this.keys.find((key) => key.id === id) ?? null;
  }

  /**
   * Changes fields of the path. Changes in a row with the same `merge`, as of one drag, are undone together.
   * @param {Partial<PathState>} fields
   * @param {string | null} merge
   */
  set(fields, merge = null) {
    if (merge === null || merge !== this.#merging) {
      this.#before = [...this.#before, this.#now].slice(-UNDO_KEPT);
      this.#after = [];
    }
    this.#merging = merge;
    this.#apply({ ...this.#now, ...fields });
  }

  /** Ends a drag: the next change is undone by itself. */
  settle() {
    this.#merging = null;
  }

  /**
   * Inserts a keyframe. Returns its id.
   * @param {Partial<Keyframe> & {x: number, z: number, yaw: number}} pose without `at`, its time follows from the pace
   * @param {number} index
   */
  add(pose, index = this.keys.length) {
    const id = this.#next++;
    /** @type {Keyframe} */
    const key = { y: null, pitch: 0, roll: 0, at: null, ...pose, id };
    this.set({ keys: this.#keptInTime([...this.keys.slice(0, index), key, ...this.keys.slice(index)]) }, `add ${id}`);
    return id;
  }

  /**
   * Changes a keyframe.
   * @param {number} id
   * @param {Partial<Keyframe>} fields
   * @param {string | null} merge
   */
  move(id, fields, merge = null) {
    this.set({ keys: this.keys.map((key) => (key.id === id ? { ...key, ...fields } : key)) }, merge);
  }

  /** @param {number | null} id */
  remove(id) {
    this.set({ keys: this.keys.filter((key) => key.id !== id) });
  }

  /**
   * Moves a keyframe in the order; times stay in theirs.
   * @param {number} id
   * @param {number} index
   */
  reorder(id, index) {
    const times = this.keys.map(({ at }) => at);
    const others = this.keys.filter((key) => key.id !== id);
    const moved = this.key(id);
    if (!moved) return;
    const keys = [...others.slice(0, index), moved, ...others.slice(index)];
    this.set({ keys: keys.map((key, i) => ({ ...key, at: times[i] })) });
  }

  /**
   * Replaces all keyframes, as read from a file.
   * @param {Omit<Keyframe, 'id'>[]} keys
   * @param {Partial<PathState>} fields
   */
  replace(keys, fields = {}) {
    this.set({ ...fields, keys: keys.map((key) => ({ ...key, at: key.at ?? null, id: this.#next++ })) });
  }

  /**
   * Takes the times at which the server reaches each keyframe; cannot be undone.
   * @param {number[]} at seconds
   */
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

  /**
   * Returns the path as the server takes it.
   * @param {import('./requests.js').Place} where
   */
  asked({ scene, seed, session }) {
    const { pace, speed, turn, seconds, easing, closed } = this.#now;
    const keys = this.keys.map(({ x, y, z, yaw, pitch, roll, at }) => ({ x, y, z, yaw, pitch, roll, at: pace === 'times' ? at : null }));
    return { scene, seed, session: session || null, keys, pace, speed, turn, seconds, easing, closed };
  }

  /**
   * @param {PathState[]} from
   * @param {PathState[]} to
   */
  #step(from, to) {
    const state = from.pop();
    if (!state) return;
    to.push(this.#now);
    this.#merging = null;
    this.#apply(state);
  }

  /** @param {PathState} state */
  #apply(state) {
    this.#now = state;
    store(STORE, state.keys.length > 0 ? JSON.stringify(state) : null);
    this.#onChange();
  }

  /**
   * Gives a new keyframe a time between its neighbours, or after the last one, where keyframes have times of their own.
   * @param {Keyframe[]} keys
   */
  #keptInTime(keys) {
    if (this.#now.pace !== 'times') return keys;
    return keys.map((key, i) => {
      if (key.at !== null) return key;
      const [before, after] = [keys[i - 1]?.at ?? null, keys[i + 1]?.at ?? null];
      if (before === null) return { ...key, at: after === null ? 0 : after - 1 };
      if (after !== null) return { ...key, at: (before + after) / 2 };
      return { ...key, at: before + Math.max(0.5, Math.hypot(key.x - keys[i - 1].x, key.z - keys[i - 1].z) / this.#now.speed) };
    });
  }

  /** @returns {PathState} */
  #recalled() {
    try {
      /** @type {PathState} */
      const kept = { ...EMPTY, ...JSON.parse(recall(STORE) ?? '{}') };
      const sound = Array.isArray(kept.keys) && kept.keys.every((key) => NUMBERS.every((name) => Number.isFinite(key[name]) || (name === 'y' && key.y === null)));
      if (!sound) return EMPTY;
      return { ...kept, keys: kept.keys.map((key) => ({ ...key, id: this.#next++ })) };
    } catch {
      return EMPTY; // not written by this page
    }
  }
}
