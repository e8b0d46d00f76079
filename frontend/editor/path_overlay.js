// @ts-check
/** The camera path over the video: drawn on the ground as the camera sees it, its keyframes as small cameras to drag. */

import { begin } from '../views/plots.js';
import { PinholeCamera, ahead } from './geometry.js';

/** @typedef {import('./geometry.js').Point} Point */
/** @typedef {import('./geometry.js').Pose} Pose */
/** @typedef {import('./camera_path.js').Keyframe} Keyframe */
/** @typedef {import('./map.js').Context} Context */
/** @typedef {{left: number, top: number, width: number, height: number}} Box */

/** @type {Readonly<Record<string, number>>} */
const GRAB_PX = Object.freeze({ mouse: 18, touch: 28 });
/** Keyframes nearer than this are not drawn. */
const NEAREST = 0.6;
const HEAD_M = 0.34;
/** Field of view in degrees where the world names none. */
const USUAL_LENS = 70;
/** Without a map, the path is drawn this far below the camera, in units. */
const BELOW = 0.6;

export class PathOverlay {
  /** @type {HTMLCanvasElement} */
  #canvas;
  /** @type {HTMLElement} */
  #stage;
  /** @type {import('./camera_path.js').CameraPath} */
  #path;
  /** @type {import('./map_controls.js').EditorHandlers} */
  #on;
  /** @type {PinholeCamera | null} */
  #camera = null;
  /** @type {import('./requests.js').Plan | null} */
  #plan = null;
  /** @type {{pointer: number, id: number} | null} */
  #drag = null;

  /**
   * @param {HTMLCanvasElement} canvas over the stage
   * @param {HTMLElement} stage gets the pointer's events
   * @param {import('./camera_path.js').CameraPath} path
   * @param {import('./map_controls.js').EditorHandlers} on
   */
  constructor(canvas, stage, path, on) {
    this.#canvas = canvas;
    this.#stage = stage;
    this.#path = path;
    this.#on = on;
    stage.addEventListener('pointerdown', (event) => this.#down(event), { capture: true });
    stage.addEventListener('pointermove', (event) => this.#moved(event), { capture: true });
    for (const end of /** @type {const} */ (['pointerup', 'pointercancel'])) stage.addEventListener(end, (event) => this.#up(event), { capture: true });
    stage.addEventListener('dblclick', (event) => this.#placed(event));
  }

  /**
   * Draws the path as `state.eye` sees it.
   * @param {import('./map.js').MapState} state
   */
  draw(state) {
    const { context, width, height, colour } = begin(this.#canvas);
    this.#plan = state.plan;
    this.#camera = state.eye && state.plan ? new PinholeCamera(state.eye, state.plan.lens_degrees ?? USUAL_LENS, state.plan.size[0] / state.plan.size[1]) : null;
    if (!this.#camera) return;
    const box = this.#box(width, height);
    context.save();
    context.beginPath();
    context.rect(box.left, box.top, box.width, box.height);
    context.clip();
    const floor = state.frames.map(({ x, z }) => ({ x, y: this.#floor, z }));
    this.#drawLine(context, box, floor, 'rgb(8 9 11 / 70%)', 7);
    this.#drawLine(context, box, floor, colour('--ink'), 3);
    this.#drawLine(context, box, floor.slice(0, state.covered), colour('--dawn'), 4);
    state.keys.forEach((key, i) => this.#drawKey(context, box, key, i + 1, key.id === state.selected, colour));
    if (state.ghost) this.#drawHead(context, box, this.#raised(state.ghost), colour('--dawn-bright'), 2.5);
    context.restore();
  }

  get #floor() {
    return !this.#plan || this.#plan.map ? 0 : this.#plan.start.y + BELOW;
  }

  /**
   * Returns a pose with the entrance's height where it has none of its own.
   * @template {Pose | Keyframe} T
   * @param {T} pose
   */
  #raised(pose) {
    return { ...pose, y: pose.y ?? this.#plan?.start.y ?? 0 };
  }

  /**
   * @param {Context} context
   * @param {Box} box
   * @param {Point[]} points
   * @param {string} style
   * @param {number} width
   */
  #drawLine(context, box, points, style, width) {
    context.strokeStyle = style;
    context.lineWidth = width;
    context.lineCap = context.lineJoin = 'round';
    context.beginPath();
    for (let i = 1; i < points.length; i += 1) this.#trace(context, box, points[i - 1], points[i]);
    context.stroke();
  }

  /**
   * @param {Context} context
   * @param {Box} box
   * @param {Point} from
   * @param {Point} to
   */
  #trace(context, box, from, to) {
    const line = this.#camera?.line(from, to);
    if (!line) return;
    context.moveTo(...placeIn(box, line[0]));
    context.lineTo(...placeIn(box, line[1]));
  }

  /**
   * @param {Context} context
   * @param {Box} box
   * @param {Keyframe} key
   * @param {number} number
   * @param {boolean} selected
   * @param {import('./map.js').Colour} colour
   */
  #drawKey(context, box, key, number, selected, colour) {
    const pose = this.#raised(key);
    const style = selected ? colour('--dawn') : colour('--ink');
    const foot = this.#camera?.project({ ...pose, y: this.#floor });
    if (!foot || this.#hidden(pose)) return;
    context.strokeStyle = style;
    context.lineWidth = 1.25;
    context.globalAlpha = 0.7;
    context.beginPath();
    this.#trace(context, box, { ...pose, y: this.#floor }, pose);
    context.stroke();
    context.globalAlpha = 1;
    this.#drawHead(context, box, pose, style, 1.75);
    const [x, y] = placeIn(box, foot);
    context.fillStyle = style;
    context.beginPath();
    context.arc(x, y, 11, 0, 2 * Math.PI);
    context.fill();
    context.fillStyle = '#0c0c0e';
    context.font = '600 11px system-ui, sans-serif';
    context.textAlign = 'center';
    context.textBaseline = 'middle';
    context.fillText(String(number), x, y + 0.5);
  }

  /**
   * Returns true for a point behind or close to the camera.
   * @param {Point} point
   */
  #hidden(point) {
    return !this.#camera || this.#camera.seen(point).ahead < NEAREST;
  }

  /**
   * Draws a small camera: its centre and its image plane.
   * @param {Context} context
   * @param {Box} box
   * @param {Pose} pose
   * @param {string} style
   * @param {number} width
   */
  #drawHead(context, box, pose, style, width) {
    if (this.#hidden(pose)) return;
    const front = ahead(pose, HEAD_M);
    const corners = [[-1, -1], [1, -1], [1, 1], [-1, 1]].map(([side, down]) => {
      const beside = ahead({ ...front, yaw: pose.yaw + 90 }, side * HEAD_M * 0.62);
      return { x: beside.x, y: pose.y - HEAD_M * Math.tan((pose.pitch * Math.PI) / 180) + down * HEAD_M * 0.36, z: beside.z };
    });
    context.strokeStyle = style;
    context.lineWidth = width;
    context.beginPath();
    corners.forEach((corner, i) => {
      this.#trace(context, box, pose, corner);
      this.#trace(context, box, corner, corners[(i + 1) % 4]);
    });
    context.stroke();
  }

  /** @param {PointerEvent} event */
  #down(event) {
    if (!this.#on.open() || event.button !== 0) return;
    const id = this.#hit(event);
    if (id === null) return;
    event.stopPropagation(); // the keyframe is dragged, not the view
    event.preventDefault();
    this.#stage.setPointerCapture(event.pointerId);
    this.#drag = { pointer: event.pointerId, id };
    this.#on.select(id);
  }

  /** @param {PointerEvent} event */
  #moved(event) {
    if (!this.#on.open()) return;
    if (!this.#drag || event.pointerId !== this.#drag.pointer) {
      if (event.buttons === 0) this.#stage.style.cursor = this.#hit(event) === null ? '' : 'grab';
      return;
    }
    event.stopPropagation();
    const point = this.#pointUnder(event);
    if (point) this.#path.move(this.#drag.id, point, `overlay ${this.#drag.id}`);
  }

  /** @param {PointerEvent} event */
  #up(event) {
    if (event.pointerId !== this.#drag?.pointer) return;
    event.stopPropagation();
    this.#drag = null;
    this.#path.settle();
  }

  /** @param {MouseEvent} event */
  #placed(event) {
    const point = this.#on.open() && this.#hit(event) === null ? this.#pointUnder(event) : null;
    if (point) this.#on.select(this.#path.add({ ...point, yaw: Math.round(10 * (this.#on.eye()?.yaw ?? 0)) / 10 }));
  }

  /**
   * Returns the point of the ground under the pointer, or null.
   * @param {MouseEvent} event
   */
  #pointUnder(event) {
    if (!this.#camera) return null;
    const { box, x, y } = this.#pointed(event);
    const point = this.#camera.onFloor({ u: (x - box.left) / box.width, v: (y - box.top) / box.height }, this.#floor);
    return point && { x: Math.round(100 * point.x) / 100, z: Math.round(100 * point.z) / 100 };
  }

  /**
   * Returns the id of the keyframe whose foot is under the pointer, or null.
   * @param {MouseEvent} event
   */
  #hit(event) {
    const camera = this.#camera;
    if (!camera) return null;
    const { box, x, y } = this.#pointed(event);
    const near = this.#path.keys.map((key) => {
      const foot = this.#hidden(this.#raised(key)) ? null : camera.project({ ...key, y: this.#floor });
      const [px, py] = foot ? placeIn(box, foot) : [Infinity, Infinity];
      return { id: key.id, off: Math.hypot(px - x, py - y) };
    }).sort((a, b) => a.off - b.off)[0];
    return near && near.off < (GRAB_PX[event instanceof PointerEvent ? event.pointerType : 'mouse'] ?? GRAB_PX.mouse) ? near.id : null;
  }

  /** @param {MouseEvent} event */
  #pointed(event) {
    const place = this.#canvas.getBoundingClientRect();
    return { box: this.#box(place.width, place.height), x: event.clientX - place.left, y: event.clientY - place.top };
  }

  /**
   * Returns the part of the stage that the whole frame covers.
   * @param {number} width
   * @param {number} height
   * @returns {Box}
   */
  #box(width, height) {
    const aspect = this.#plan ? this.#plan.size[0] / this.#plan.size[1] : width / height;
    const shown = width / height > aspect ? { width: height * aspect, height } : { width, height: width / aspect };
    return { ...shown, left: (width - shown.width) / 2, top: (height - shown.height) / 2 };
  }
}

/**
 * @param {Box} box
 * @param {import('./geometry.js').ImagePoint} place
 * @returns {[number, number]}
 */
function placeIn(box, { u, v }) {
  return [box.left + u * box.width, box.top + v * box.height];
}
