// @ts-check
/**
 * Input on the map. A click adds a keyframe, on the curve between its neighbours; dragging a keyframe moves it, dragging
 * the tip of its wedge turns it; dragging the ground pans, the wheel or two fingers zoom. Arrow keys do the same.
 */

import { wrapped, yawTowards } from './geometry.js';

/** @typedef {import('./geometry.js').Pose} Pose */
/** @typedef {import('./map.js').CanvasPoint} CanvasPoint */
/** @typedef {import('./camera_path.js').Keyframe} Keyframe */
/** @typedef {{kind: 'tip' | 'key', id: number} | {kind: 'curve', frame: number} | {kind: 'ground'}} Hit What lies under the pointer. */
/**
 * Selection and drawing of the editor: `secondsOf(frame)`, `eye()` returns the camera's pose.
 * @typedef {object} EditorHandlers
 * @property {() => number | null} selected
 * @property {(id: number | null) => void} select
 * @property {(step: number) => void} selectNext
 * @property {() => Pose[]} frames
 * @property {(frame: number) => number} secondsOf
 * @property {() => void} redraw
 * @property {() => boolean} open
 * @property {() => Pose | null} eye
 */

/** @type {Readonly<Record<string, number>>} */
const GRAB_PX = Object.freeze({ mouse: 15, touch: 24 });
const CURVE_PX = 9;
const CLICK_PX = 5;
const STEP = 0.25;
const TURN_DEG = 5;
const TILT_DEG = 2;

export class MapControls {
  /** @type {import('./map.js').MapView} */
  #view;
  /** @type {import('./camera_path.js').CameraPath} */
  #path;
  /** @type {EditorHandlers} */
  #on;
  /** @type {Map<number, CanvasPoint>} */
  #pointers = new Map();
  /** @type {(Hit & {from: CanvasPoint, far: boolean}) | null} */
  #drag = null;

  /**
   * @param {import('./map.js').MapView} view
   * @param {import('./camera_path.js').CameraPath} path
   * @param {EditorHandlers} on
   */
  constructor(view, path, on) {
    this.#view = view;
    this.#path = path;
    this.#on = on;
    const { canvas } = view;
    canvas.addEventListener('pointerdown', (event) => this.#down(event));
    canvas.addEventListener('pointermove', (event) => this.#moved(event));
    for (const end of /** @type {const} */ (['pointerup', 'pointercancel'])) canvas.addEventListener(end, (event) => this.#up(event));
    canvas.addEventListener('wheel', (event) => this.#wheel(event), { passive: false });
    canvas.addEventListener('keydown', (event) => this.#keydown(event));
  }

  /** @param {PointerEvent} event */
  #down(event) {
    if (event.button !== 0) return;
    const at = this.#placeOf(event);
    this.#view.canvas.setPointerCapture(event.pointerId);
    this.#pointers.set(event.pointerId, at);
    if (this.#pointers.size > 1) {
      this.#drag = null; // two fingers pan and zoom
      return;
    }
    const hit = this.#hit(at, GRAB_PX[event.pointerType] ?? GRAB_PX.mouse);
    this.#drag = { ...hit, from: at, far: false };
    if ('id' in hit) this.#on.select(hit.id);
  }

  /** @param {PointerEvent} event */
  #moved(event) {
    const at = this.#placeOf(event);
    const before = this.#pointers.get(event.pointerId);
    if (!before) {
      this.#view.canvas.style.cursor = this.#hit(at, GRAB_PX.mouse).kind === 'ground' ? 'crosshair' : 'grab';
      return;
    }
    this.#pointers.set(event.pointerId, at);
    if (this.#pointers.size === 2) this.#pinch(event.pointerId, before, at);
    const drag = this.#drag;
    if (!drag) return;
    drag.far ||= Math.hypot(at.px - drag.from.px, at.py - drag.from.py) > CLICK_PX;
    if (!drag.far) return;
    if (drag.kind === 'key') this.#path.move(drag.id, rounded(this.#view.point(at)), `drag ${drag.id}`);
    else if (drag.kind === 'tip') this.#turn(drag.id, at);
    else this.#view.pan(at.px - before.px, at.py - before.py);
    this.#on.redraw();
  }

  /** @param {PointerEvent} event */
  #up(event) {
    if (!this.#pointers.delete(event.pointerId)) return;
    const drag = this.#drag;
    this.#drag = null;
    this.#path.settle();
    if (!drag || drag.far || event.type === 'pointercancel') return;
    if (drag.kind === 'curve') this.#insert(drag.frame);
    else if (drag.kind === 'ground') this.#append(rounded(this.#view.point(drag.from)));
  }

  /**
   * @param {number} id keyframe
   * @param {CanvasPoint} towards
   */
  #turn(id, towards) {
    const key = this.#path.key(id);
    if (key) this.#path.move(id, { yaw: tidy(yawTowards(key, this.#view.point(towards))), along: false }, `turn ${id}`);
  }

  /**
   * @param {number} id pointer that moved
   * @param {CanvasPoint} before
   * @param {CanvasPoint} at
   */
  #pinch(id, before, at) {
    const other = [...this.#pointers].find(([one]) => one !== id)?.[1];
    if (!other) return;
    /** @param {CanvasPoint} a @param {CanvasPoint} b */
    const apart = (a, b) => Math.max(1, Math.hypot(a.px - b.px, a.py - b.py));
    this.#view.zoom(apart(at, other) / apart(before, other), other);
    this.#view.pan((at.px - before.px) / 2, (at.py - before.py) / 2);
    this.#on.redraw();
  }

  /** @param {WheelEvent} event */
  #wheel(event) {
    event.preventDefault();
    this.#view.zoom(Math.exp(-event.deltaY * (event.deltaMode === 1 ? 0.05 : 0.0018)), this.#placeOf(event));
    this.#on.redraw();
  }

  /**
   * Adds a keyframe that looks along the path; so does the one before, unless the visitor has turned it.
   * @param {import('./geometry.js').GroundPoint} point
   */
  #append(point) {
    const [before, last] = [this.#path.keys.at(-2), this.#path.keys.at(-1)];
    const yaw = last ? tidy(yawTowards(last, point)) : tidy(this.#on.eye()?.yaw ?? 0);
    const id = this.#path.add({ ...point, yaw, y: last?.y ?? null, along: true });
    if (last?.along) this.#path.move(last.id, { yaw: tidy(yawTowards(before ?? last, point)) }, `add ${id}`);
    this.#path.settle();
    this.#on.select(id);
  }

  /**
   * Adds a keyframe on the curve, with the camera's pose there.
   * @param {number} frame
   */
  #insert(frame) {
    const { x, y, z, yaw, pitch, roll } = this.#on.frames()[frame];
    const share = this.#on.secondsOf(frame);
    const index = this.#path.keys.findIndex(({ at }) => at !== null && at > share);
    const pose = { ...rounded({ x, z }), y: this.#path.keys.some((key) => key.y !== null) ? y : null, yaw: tidy(yaw), pitch: tidy(pitch), roll };
    this.#on.select(this.#path.add({ ...pose, at: share }, index < 0 ? this.#path.keys.length : index));
  }

  /**
   * Returns what lies at a place: a keyframe, the tip of the selected one, the curve, or the ground.
   * @param {CanvasPoint} at
   * @param {number} reach
   * @returns {Hit}
   */
  #hit(at, reach) {
    /** @param {CanvasPoint} place */
    const apart = (place) => Math.hypot(place.px - at.px, place.py - at.py);
    const chosen = this.#path.key(this.#on.selected());
    const keys = this.#path.keys.map((key) => ({ key, off: apart(this.#view.place(key)) })).sort((a, b) => a.off - b.off);
    if (chosen && apart(this.#view.tip(chosen)) < Math.min(reach, keys[0].off)) return { kind: 'tip', id: chosen.id };
    if (keys[0]?.off < reach) return { kind: 'key', id: keys[0].key.id };
    const frames = this.#on.frames();
    const distances = frames.map((pose) => apart(this.#view.place(pose)));
    const nearest = distances.reduce((best, far) => Math.min(best, far), Infinity);
    return nearest < CURVE_PX && frames.length > 1 ? { kind: 'curve', frame: distances.indexOf(nearest) } : { kind: 'ground' };
  }

  /** @param {KeyboardEvent} event */
  #keydown(event) {
    const id = this.#on.selected();
    const key = this.#path.key(id);
    const handled = (key && this.#nudge(event, key)) || this.#viewed(event);
    if (!handled) return;
    event.preventDefault();
    event.stopPropagation(); // else the camera walks as well
    this.#on.redraw();
  }

  /**
   * @param {KeyboardEvent} event
   * @param {Keyframe} key
   */
  #nudge(event, key) {
    const way = /** @type {Record<string, [number, number]>} */ ({ ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] })[event.key];
    if (event.key === 'Delete' || event.key === 'Backspace') {
      const index = this.#path.keys.indexOf(key);
      this.#path.remove(key.id);
      this.#on.select(this.#path.keys[Math.min(index, this.#path.keys.length - 1)]?.id ?? null);
    } else if (!way) return false;
    else if (event.shiftKey) this.#path.move(key.id, { yaw: wrapped(key.yaw + TURN_DEG * way[0]), pitch: Math.max(-89, Math.min(89, key.pitch + TILT_DEG * way[1])), along: false }, `arrows ${key.id}`);
    else this.#path.move(key.id, rounded({ x: key.x + STEP * way[0], z: key.z + STEP * way[1] }), `arrows ${key.id}`);
    return true;
  }

  /** @param {KeyboardEvent} event */
  #viewed(event) {
    if (event.key === '+' || event.key === '=') this.#view.zoom(1.25);
    else if (event.key === '-') this.#view.zoom(0.8);
    else if (event.key === 'PageUp' || event.key === 'PageDown') this.#on.selectNext(event.key === 'PageDown' ? 1 : -1);
    else if (event.key === 'Enter') this.#append(rounded(this.#view.centre));
    else return event.key.startsWith('Arrow'); // they are the map's, also while no keyframe is selected
    return true;
  }

  /** @param {MouseEvent} event @returns {CanvasPoint} */
  #placeOf(event) {
    const box = this.#view.canvas.getBoundingClientRect();
    return { px: event.clientX - box.left, py: event.clientY - box.top };
  }
}

/**
 * Rounds to centimetres.
 * @param {import('./geometry.js').GroundPoint} point
 */
function rounded({ x, z }) {
  return { x: Math.round(100 * x) / 100, z: Math.round(100 * z) / 100 };
}

/**
 * Rounds to tenths of a degree, from -180 to 180.
 * @param {number} degrees
 */
function tidy(degrees) {
  return Math.round(10 * wrapped(degrees)) / 10;
}
