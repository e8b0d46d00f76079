// @ts-check
/** The map: the scene from above with a grid in metres, the camera path, its keyframes, and the cameras. */

import { begin } from '../views/plots.js';
import { MANY_KEYS } from './timeline.js';

/** @typedef {import('./geometry.js').Pose} Pose */
/** @typedef {import('./geometry.js').GroundPoint} GroundPoint */
/** @typedef {import('./camera_path.js').Keyframe} Keyframe */
/** @typedef {{px: number, py: number}} CanvasPoint In CSS pixels of the canvas. */
/** @typedef {CanvasRenderingContext2D} Context */
/** @typedef {(name: string) => string} Colour Returns a custom property of the style sheet. */
/**
 * State to draw: the path's poses (`frames`), the session's camera (`live`) and the one that the frame on screen was seen
 * from (`eye`), the pose under the playhead (`ghost`), the recorded walk (`trail`), and how many frames are generated.
 * @typedef {object} MapState
 * @property {import('./requests.js').Plan | null} plan
 * @property {Pose | null} eye
 * @property {Pose[]} frames
 * @property {Keyframe[]} keys
 * @property {number | null} selected
 * @property {Pose | null} live
 * @property {Pose | null} ghost
 * @property {Pose[]} trail
 * @property {number} covered
 * @property {boolean} refused
 */

const GRIDS = [0.5, 1, 2, 5, 10, 20, 50, 100];
const GRID_PX = 44;
const KEY_PX = 11;
const SMALL_KEY_PX = 5;
const WEDGE_PX = 34;
/** Units around the camera that are shown first of a world without bounds. */
const SURROUNDINGS = 30;
const DEGREE = Math.PI / 180;
const SCALE = Object.freeze({ least: 4, most: 260 });

export class MapView {
  /** @type {HTMLCanvasElement} */
  #canvas;
  /** @type {GroundPoint} */
  #centre = { x: 0, z: 0 };
  #scale = 14;
  #placed = false;
  #decoded;
  /** @type {import('./requests.js').Aerial | null} */
  #aerialAsked = null;
  /** @type {{aerial: import('./requests.js').Aerial, image: HTMLImageElement} | null} */
  #aerial = null;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {() => void} decoded called when a picture of the land can be drawn
   */
  constructor(canvas, decoded) {
    this.#canvas = canvas;
    this.#decoded = decoded;
  }

  get canvas() {
    return this.#canvas;
  }

  get centre() {
    return this.#centre;
  }

  /** Pixels per unit. */
  get scale() {
    return this.#scale;
  }

  /**
   * Converts a point of the world to the canvas.
   * @param {GroundPoint} point
   * @returns {CanvasPoint}
   */
  place({ x, z }) {
    return { px: this.#canvas.clientWidth / 2 + (x - this.#centre.x) * this.#scale, py: this.#canvas.clientHeight / 2 - (z - this.#centre.z) * this.#scale };
  }

  /**
   * Converts a place of the canvas to the world.
   * @param {CanvasPoint} place
   * @returns {GroundPoint}
   */
  point({ px, py }) {
    return { x: this.#centre.x + (px - this.#canvas.clientWidth / 2) / this.#scale, z: this.#centre.z - (py - this.#canvas.clientHeight / 2) / this.#scale };
  }

  /**
   * Returns the tip of a pose's wedge, the handle that turns it.
   * @param {GroundPoint & {yaw: number}} pose
   * @returns {CanvasPoint}
   */
  tip(pose) {
    const { px, py } = this.place(pose);
    return { px: px + WEDGE_PX * Math.sin(pose.yaw * DEGREE), py: py - WEDGE_PX * Math.cos(pose.yaw * DEGREE) };
  }

  /**
   * @param {number} dx
   * @param {number} dy
   */
  pan(dx, dy) {
    this.#centre = { x: this.#centre.x - dx / this.#scale, z: this.#centre.z + dy / this.#scale };
  }

  /**
   * Zooms around a fixed place.
   * @param {number} factor
   * @param {CanvasPoint} about
   */
  zoom(factor, about = { px: this.#canvas.clientWidth / 2, py: this.#canvas.clientHeight / 2 }) {
    const held = this.point(about);
    this.#scale = Math.max(SCALE.least, Math.min(SCALE.most, this.#scale * factor));
    const moved = this.point(about);
    this.#centre = { x: this.#centre.x + held.x - moved.x, z: this.#centre.z + held.z - moved.z };
  }

  /**
   * Fits the view to some points.
   * @param {GroundPoint[]} points
   */
  fit(points) {
    if (points.length === 0 || this.#canvas.clientWidth === 0) return;
    const [xs, zs] = [points.map(({ x }) => x), points.map(({ z }) => z)];
    const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...zs), Math.max(...zs)];
    this.#centre = { x: (left + right) / 2, z: (low + high) / 2 };
    const room = Math.min(this.#canvas.clientWidth / (right - left + 1), this.#canvas.clientHeight / (high - low + 1));
    this.#scale = Math.max(SCALE.least, Math.min(60, 0.9 * room));
    this.#placed = true;
  }

  /**
   * Fits the view to a whole scene, or to the surroundings of a point where it has no map or no bounds.
   * @param {import('./requests.js').SceneMap | null} map
   * @param {GroundPoint} here
   */
  fitScene(map, here) {
    const { x, z } = map?.radius ? { x: 0, z: 0 } : here;
    const reach = map?.radius ?? (map ? SURROUNDINGS : 4);
    this.fit([-reach, reach].map((off) => ({ x: x + off, z: z + off })));
  }

  /** True once it was fitted to something. */
  get placed() {
    return this.#placed;
  }

  /** @param {MapState} state */
  draw(state) {
    const { context, width, height, colour } = begin(this.#canvas);
    context.fillStyle = colour('--map-beyond');
    context.fillRect(0, 0, width, height);
    if (state.plan?.map) this.#drawScene(context, state.plan.map, colour);
    this.#drawGrid(context, width, height, colour);
    this.#drawLine(context, state.trail, colour('--warn'), 2.5);
    this.#drawLine(context, state.frames, 'rgb(8 9 11 / 72%)', 6);
    this.#drawLine(context, state.frames, colour(state.refused ? '--warn' : '--ink'), 2.25);
    this.#drawLine(context, state.frames.slice(0, state.covered), colour('--dawn'), 3.25);
    const few = state.keys.length <= MANY_KEYS;
    state.keys.forEach((key, i) => this.#drawKey(context, key, few || key.id === state.selected ? i + 1 : null, key.id === state.selected, colour));
    if (state.live) this.#drawCamera(context, state.live, colour('--live'), state.plan?.lens_degrees ?? 60, 46);
    if (state.ghost) this.#drawCamera(context, state.ghost, colour('--dawn-bright'), state.plan?.lens_degrees ?? 60, 34);
  }

  /**
   * @param {Context} context
   * @param {import('./requests.js').SceneMap} map
   * @param {Colour} colour
   */
  #drawScene(context, map, colour) {
    const middle = this.place({ x: 0, z: 0 });
    if (map.aerial) this.#drawAerial(context, map.aerial);
    if (map.radius !== null) {
      context.fillStyle = map.ground;
      context.globalAlpha = 0.42;
      disc(context, middle, (map.radius + 6) * this.#scale);
      context.globalAlpha = 0.5;
      disc(context, middle, map.radius * this.#scale);
    }
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
    if (map.radius !== null) ring(context, middle, map.radius * this.#scale);
    context.setLineDash([]);
  }

  /**
   * Draws the newest picture of the land that is decoded, and has the next one decoded.
   * @param {Context} context
   * @param {import('./requests.js').Aerial} aerial
   */
  #drawAerial(context, aerial) {
    if (aerial !== this.#aerialAsked) {
      this.#aerialAsked = aerial;
      const image = Object.assign(new Image(), { src: aerial.png });
      image.decode().then(() => {
        if (aerial !== this.#aerialAsked) return;
        this.#aerial = { aerial, image };
        this.#decoded();
      }, () => {});
    }
    if (!this.#aerial) return;
    const { aerial: { x, z, side }, image } = this.#aerial;
    const corner = this.place({ x: x - side / 2, z: z + side / 2 });
    context.globalAlpha = 0.85;
    context.imageSmoothingEnabled = side * this.#scale < 4 * image.width;
    context.drawImage(image, corner.px, corner.py, side * this.#scale, side * this.#scale);
  }

  /**
   * @param {Context} context
   * @param {[number, number][]} corners
   */
  #polygon(context, corners) {
    context.beginPath();
    for (const [x, z] of corners) {
      const { px, py } = this.place({ x, z });
      context.lineTo(px, py);
    }
    context.closePath();
    context.fill();
  }

  /**
   * @param {Context} context
   * @param {number} width
   * @param {number} height
   * @param {Colour} colour
   */
  #drawGrid(context, width, height, colour) {
    const step = GRIDS.find((size) => size * this.#scale >= GRID_PX) ?? GRIDS[GRIDS.length - 1];
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

  /**
   * @param {Context} context
   * @param {GroundPoint[]} points
   * @param {string} style
   * @param {number} width
   */
  #drawLine(context, points, style, width) {
    if (points.length < 2) return;
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

  /**
   * @param {Context} context
   * @param {Keyframe} key
   * @param {number | null} number
   * @param {boolean} selected
   * @param {Colour} colour
   */
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

  /**
   * @param {Context} context
   * @param {Pose} pose
   * @param {string} style
   * @param {number} degrees field of view
   * @param {number} length
   */
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

/**
 * @param {Context} context
 * @param {CanvasPoint} place
 * @param {number} radius
 */
function disc(context, { px, py }, radius) {
  context.beginPath();
  context.arc(px, py, radius, 0, 2 * Math.PI);
  context.fill();
}

/**
 * @param {Context} context
 * @param {CanvasPoint} place
 * @param {number} radius
 */
function ring(context, { px, py }, radius) {
  context.beginPath();
  context.arc(px, py, radius, 0, 2 * Math.PI);
  context.stroke();
}

/**
 * Draws a camera's field of view, brightest at its centre.
 * @param {Context} context
 * @param {CanvasPoint} place
 * @param {number} yaw
 * @param {number} length
 * @param {number} half degrees to either side of the yaw
 * @param {string} style
 * @param {number} alpha
 */
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
