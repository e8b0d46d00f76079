/** The path in the picture: drawn on the ground as the camera sees it, its key poses as small cameras to be dragged. */

import { begin } from '../views/plots.js';
import { Lens, ahead } from './geometry.js';

const GRAB_PX = Object.freeze({ mouse: 18, touch: 28 });
const HEAD_M = 0.34;
/** A picture of unknown lens is taken to be this wide, in degrees. */
const USUAL_LENS = 70;
/** Where no map tells the ground, the path is drawn this far below the camera, in units. */
const BELOW = 0.6;

export class PictureView {
  #canvas;
  #stage;
  #path;
  #on;
  #lens = null;
  #plan = null;
  #drag = null;

  /** `canvas` lies over `stage`, which keeps the pointer; `on` as in `MapHands`, and `on.open()`, `on.eye()`, the camera's pose. */
  constructor(canvas, stage, path, on) {
    this.#canvas = canvas;
    this.#stage = stage;
    this.#path = path;
    this.#on = on;
    stage.addEventListener('pointerdown', (event) => this.#down(event), { capture: true });
    stage.addEventListener('pointermove', (event) => this.#moved(event), { capture: true });
    for (const end of ['pointerup', 'pointercancel']) stage.addEventListener(end, (event) => this.#up(event), { capture: true });
    stage.addEventListener('dblclick', (event) => this.#placed(event));
  }

  /** Draws the `scene` of `MapView.draw` as `scene.eye` sees it. */
  draw(scene) {
    const { context, width, height, colour } = begin(this.#canvas);
    this.#plan = scene.plan;
    this.#lens = scene.eye && scene.plan ? new Lens(scene.eye, scene.plan.lens_degrees ?? USUAL_LENS, scene.plan.size[0] / scene.plan.size[1]) : null;
    if (!this.#lens) return;
    const box = this.#box(width, height);
    context.save();
    context.beginPath();
    context.rect(box.left, box.top, box.width, box.height);
    context.clip();
    const floor = scene.frames.map(({ x, z }) => ({ x, y: this.#floor, z }));
    this.#drawLine(context, box, floor, 'rgb(8 9 11 / 70%)', 7);
    this.#drawLine(context, box, floor, colour('--ink'), 3);
    this.#drawLine(context, box, floor.slice(0, scene.covered), colour('--dawn'), 4);
    scene.keys.forEach((key, i) => this.#drawKey(context, box, key, i + 1, key.id === scene.selected, colour));
    if (scene.ghost) this.#drawHead(context, box, this.#raised(scene.ghost), colour('--dawn-bright'), 2.5);
    context.restore();
  }

  get #floor() {
    return this.#plan.map ? 0 : this.#plan.start.y + BELOW;
  }

  /** A key whose height is the entrance's has that. */
  #raised(pose) {
    return { ...pose, y: pose.y ?? this.#plan.start.y };
  }

  #drawLine(context, box, points, style, width) {
    context.strokeStyle = style;
    context.lineWidth = width;
    context.lineCap = context.lineJoin = 'round';
    context.beginPath();
    for (let i = 1; i < points.length; i += 1) this.#trace(context, box, points[i - 1], points[i]);
    context.stroke();
  }

  #trace(context, box, from, to) {
    const line = this.#lens.line(from, to);
    if (!line) return;
    context.moveTo(...placeIn(box, line[0]));
    context.lineTo(...placeIn(box, line[1]));
  }

  #drawKey(context, box, key, number, selected, colour) {
    const pose = this.#raised(key);
    const style = selected ? colour('--dawn') : colour('--ink');
    const foot = this.#lens.project({ ...pose, y: this.#floor });
    if (!foot || this.#lens.seen(pose).ahead < 0.6) return;
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

  /** A small camera: its eye and what it looks through. */
  #drawHead(context, box, pose, style, width) {
    if (this.#lens.seen(pose).ahead < 0.6) return;
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

  #down(event) {
    if (!this.#on.open() || event.button !== 0) return;
    const id = this.#hit(event);
    if (id === null) return;
    event.stopPropagation(); // it is the key that is dragged, not the view
    event.preventDefault();
    this.#stage.setPointerCapture(event.pointerId);
    this.#drag = { pointer: event.pointerId, id };
    this.#on.select(id);
  }

  #moved(event) {
    if (!this.#on.open()) return;
    if (event.pointerId !== this.#drag?.pointer) {
      if (event.buttons === 0) this.#stage.style.cursor = this.#hit(event) === null ? '' : 'grab';
      return;
    }
    event.stopPropagation();
    const point = this.#pointUnder(event);
    if (point) this.#path.move(this.#drag.id, point, `picture ${this.#drag.id}`);
  }

  #up(event) {
    if (event.pointerId !== this.#drag?.pointer) return;
    event.stopPropagation();
    this.#drag = null;
    this.#path.settle();
  }

  #placed(event) {
    const point = this.#on.open() && this.#hit(event) === null ? this.#pointUnder(event) : null;
    if (point) this.#on.select(this.#path.add({ ...point, yaw: Math.round(10 * (this.#on.eye()?.yaw ?? 0)) / 10 }));
  }

  /** The point of the ground under the pointer, or null. */
  #pointUnder(event) {
    if (!this.#lens) return null;
    const { box, x, y } = this.#pointed(event);
    const point = this.#lens.onFloor({ u: (x - box.left) / box.width, v: (y - box.top) / box.height }, this.#floor);
    return point && { x: Math.round(100 * point.x) / 100, z: Math.round(100 * point.z) / 100 };
  }

  /** The key whose foot is under the pointer, or null. */
  #hit(event) {
    if (!this.#lens) return null;
    const { box, x, y } = this.#pointed(event);
    const near = this.#path.keys.map((key) => {
      const foot = this.#lens.seen(this.#raised(key)).ahead < 0.6 ? null : this.#lens.project({ ...key, y: this.#floor });
      const [px, py] = foot ? placeIn(box, foot) : [Infinity, Infinity];
      return { id: key.id, off: Math.hypot(px - x, py - y) };
    }).sort((a, b) => a.off - b.off)[0];
    return near && near.off < (GRAB_PX[event.pointerType] ?? GRAB_PX.mouse) ? near.id : null;
  }

  #pointed(event) {
    const place = this.#canvas.getBoundingClientRect();
    return { box: this.#box(place.width, place.height), x: event.clientX - place.left, y: event.clientY - place.top };
  }

  /** The whole picture in the stage. */
  #box(width, height) {
    const aspect = this.#plan.size[0] / this.#plan.size[1];
    const shown = width / height > aspect ? { width: height * aspect, height } : { width, height: width / aspect };
    return { ...shown, left: (width - shown.width) / 2, top: (height - shown.height) / 2 };
  }
}

function placeIn(box, { u, v }) {
  return [box.left + u * box.width, box.top + v * box.height];
}
