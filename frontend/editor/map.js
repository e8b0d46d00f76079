/** The place from above, drawn: ground and things, a grid in metres, the path, its key poses, and the cameras. */

import { begin } from '../views/plots.js';
import { MANY_KEYS } from './timeline.js';

const GRIDS = [0.5, 1, 2, 5, 10, 20, 50, 100];
const GRID_PX = 44;
const KEY_PX = 11;
const SMALL_KEY_PX = 5;
const WEDGE_PX = 34;
const DEGREE = Math.PI / 180;
const SCALE = Object.freeze({ least: 4, most: 260 });

export class MapView {
  #canvas;
  #centre = { x: 0, z: 0 };
  #scale = 14;
  #placed = false;

  constructor(canvas) {
    this.#canvas = canvas;
  }

  get canvas() {
    return this.#canvas;
  }

  get centre() {
    return this.#centre;
  }

  /** Pixels a unit. */
  get scale() {
    return this.#scale;
  }

  /** Where a point of the world is on the canvas, in px of the page. */
  place({ x, z }) {
    return { px: this.#canvas.clientWidth / 2 + (x - this.#centre.x) * this.#scale, py: this.#canvas.clientHeight / 2 - (z - this.#centre.z) * this.#scale };
  }

  /** The point of the world under a place of the canvas. */
  point({ px, py }) {
    return { x: this.#centre.x + (px - this.#canvas.clientWidth / 2) / this.#scale, z: this.#centre.z - (py - this.#canvas.clientHeight / 2) / this.#scale };
  }

  /** Where the tip of a pose's wedge is, which turns it. */
  tip(pose) {
    const { px, py } = this.place(pose);
    return { px: px + WEDGE_PX * Math.sin(pose.yaw * DEGREE), py: py - WEDGE_PX * Math.cos(pose.yaw * DEGREE) };
  }

  pan(dx, dy) {
    this.#centre = { x: this.#centre.x - dx / this.#scale, z: this.#centre.z + dy / this.#scale };
  }

  /** Zooms by `factor` around a place that stays where it is. */
  zoom(factor, about = { px: this.#canvas.clientWidth / 2, py: this.#canvas.clientHeight / 2 }) {
    const held = this.point(about);
    this.#scale = Math.max(SCALE.least, Math.min(SCALE.most, this.#scale * factor));
    const moved = this.point(about);
    this.#centre = { x: this.#centre.x + held.x - moved.x, z: this.#centre.z + held.z - moved.z };
  }

  /** Shows all of `points`, with room around them. */
  fit(points) {
    if (points.length === 0 || this.#canvas.clientWidth === 0) return;
    const [xs, zs] = [points.map(({ x }) => x), points.map(({ z }) => z)];
    const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...zs), Math.max(...zs)];
    this.#centre = { x: (left + right) / 2, z: (low + high) / 2 };
    const room = Math.min(this.#canvas.clientWidth / (right - left + 1), this.#canvas.clientHeight / (high - low + 1));
    this.#scale = Math.max(SCALE.least, Math.min(60, 0.9 * room));
    this.#placed = true;
  }

  /** Whether it was ever fitted to something. */
  get placed() {
    return this.#placed;
  }

  /**
   * Draws `scene`: `{plan, frames, keys, selected, live, ghost, trail, covered, refused}`. `frames` are the path's poses,
   * `live` the camera, `ghost` the pose under the playhead, `trail` what was walked, `covered` how many frames are dreamed.
   */
  draw(scene) {
    const { context, width, height, colour } = begin(this.#canvas);
    context.fillStyle = colour('--map-beyond');
    context.fillRect(0, 0, width, height);
    if (scene.plan?.map) this.#drawPlace(context, scene.plan.map, colour);
    this.#drawGrid(context, width, height, colour);
    this.#drawLine(context, scene.trail, colour('--warn'), 2.5);
    this.#drawLine(context, scene.frames, 'rgb(8 9 11 / 72%)', 6);
    this.#drawLine(context, scene.frames, colour(scene.refused ? '--warn' : '--ink'), 2.25);
    this.#drawLine(context, scene.frames.slice(0, scene.covered), colour('--dawn'), 3.25);
    const few = scene.keys.length <= MANY_KEYS;
    scene.keys.forEach((key, i) => this.#drawKey(context, key, few || key.id === scene.selected ? i + 1 : null, key.id === scene.selected, colour));
    if (scene.live) this.#drawCamera(context, scene.live, colour('--live'), scene.plan?.lens_degrees ?? 60, 46);
    if (scene.ghost) this.#drawCamera(context, scene.ghost, colour('--dawn-bright'), scene.plan?.lens_degrees ?? 60, 34);
  }

  #drawPlace(context, map, colour) {
    const middle = this.place({ x: 0, z: 0 });
    context.fillStyle = map.ground;
    context.globalAlpha = 0.42;
    disc(context, middle, (map.radius + 6) * this.#scale);
    context.globalAlpha = 0.5;
    disc(context, middle, map.radius * this.#scale);
    for (const { circle, corners, colour: own } of map.things) {
      context.fillStyle = own;
      context.globalAlpha = 0.78;
      if (circle) disc(context, this.place({ x: circle[0], z: circle[1] }), circle[2] * this.#scale);
      else this.#polygon(context, corners);
    }
    context.globalAlpha = 1;
    context.fillStyle = 'rgb(8 9 11 / 30%)';
    context.fillRect(0, 0, this.#canvas.clientWidth, this.#canvas.clientHeight);
    context.strokeStyle = colour('--line-strong');
    context.lineWidth = 1;
    context.setLineDash([3, 4]);
    for (const [x, z, radius] of map.blocked) ring(context, this.place({ x, z }), radius * this.#scale);
    context.lineWidth = 1.5;
    ring(context, middle, map.radius * this.#scale);
    context.setLineDash([]);
  }

  #polygon(context, corners) {
    context.beginPath();
    for (const [x, z] of corners) {
      const { px, py } = this.place({ x, z });
      context.lineTo(px, py);
    }
    context.closePath();
    context.fill();
  }

  #drawGrid(context, width, height, colour) {
    const step = GRIDS.find((size) => size * this.#scale >= GRID_PX) ?? GRIDS.at(-1);
    const [low, high] = [this.point({ px: 0, py: height }), this.point({ px: width, py: 0 })];
    context.fillStyle = colour('--map-grid');
    for (let i = Math.ceil(low.x / step); i * step <= high.x; i += 1) context.fillRect(Math.round(this.place({ x: i * step, z: 0 }).px), 0, i === 0 ? 2 : 1, height);
    for (let i = Math.ceil(low.z / step); i * step <= high.z; i += 1) context.fillRect(0, Math.round(this.place({ x: 0, z: i * step }).py), width, i === 0 ? 2 : 1);
    const length = step * this.#scale;
    context.fillStyle = colour('--ink');
    context.fillRect(12, height - 14, length, 2);
    context.fillRect(12, height - 18, 1, 6);
    context.fillRect(11 + length, height - 18, 1, 6);
    context.font = '500 11px ui-monospace, monospace';
    context.textBaseline = 'alphabetic';
    context.textAlign = 'left';
    context.fillText(`${step} m`, 14, height - 21);
  }

  #drawLine(context, points, style, width) {
    if (!points || points.length < 2) return;
    context.strokeStyle = style;
    context.lineWidth = width;
    context.lineJoin = context.lineCap = 'round';
    context.beginPath();
    for (const point of points) {
      const { px, py } = this.place(point);
      context.lineTo(px, py);
    }
    context.stroke();
  }

  #drawKey(context, key, number, selected, colour) {
    const at = this.place(key);
    const size = number === null ? SMALL_KEY_PX : KEY_PX;
    wedge(context, at, key.yaw, WEDGE_PX, 26, selected ? colour('--dawn') : 'rgb(244 241 234 / 62%)', 0.85);
    if (selected) {
      const tip = this.tip(key);
      context.fillStyle = colour('--dawn-bright');
      disc(context, tip, 4.5);
    }
    context.fillStyle = selected ? colour('--dawn') : colour('--ink');
    disc(context, at, size);
    context.strokeStyle = 'rgb(8 9 11 / 70%)';
    context.lineWidth = 1.5;
    ring(context, at, size);
    if (number === null) return;
    context.fillStyle = '#0c0c0e';
    context.font = '600 11px system-ui, sans-serif';
    context.textAlign = 'center';
    context.textBaseline = 'middle';
    context.fillText(String(number), at.px, at.py + 0.5);
  }

  #drawCamera(context, pose, style, degrees, length) {
    const at = this.place(pose);
    wedge(context, at, pose.yaw, length, degrees / 2, style, 0.5);
    context.fillStyle = style;
    context.strokeStyle = 'rgb(8 9 11 / 80%)';
    context.lineWidth = 2;
    disc(context, at, 5.5);
    ring(context, at, 5.5);
  }
}

function disc(context, { px, py }, radius) {
  context.beginPath();
  context.arc(px, py, radius, 0, 2 * Math.PI);
  context.fill();
}

function ring(context, { px, py }, radius) {
  context.beginPath();
  context.arc(px, py, radius, 0, 2 * Math.PI);
  context.stroke();
}

/** Where a camera looks: `half` degrees to either side of `yaw`, brightest at its eye. */
function wedge(context, { px, py }, yaw, length, half, style, alpha) {
  const towards = (yaw - 90) * DEGREE;
  const fade = context.createRadialGradient(px, py, 0, px, py, length);
  context.save();
  context.globalAlpha = alpha;
  fade.addColorStop(0, style);
  fade.addColorStop(1, 'rgb(244 241 234 / 6%)');
  context.fillStyle = fade;
  context.beginPath();
  context.moveTo(px, py);
  context.arc(px, py, length, towards - half * DEGREE, towards + half * DEGREE);
  context.closePath();
  context.fill();
  context.restore();
}
