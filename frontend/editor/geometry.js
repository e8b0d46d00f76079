// @ts-check
/**
 * Poses of the editor, in world units and degrees: x right, y down, z ahead; yaw to the right from +z, pitch upwards. And
 * the pinhole projection.
 */

/** @typedef {{x: number, z: number}} GroundPoint */
/** @typedef {{x: number, y: number, z: number}} Point */
/** @typedef {Point & {yaw: number, pitch: number, roll: number}} Pose */
/** @typedef {{u: number, v: number}} ImagePoint 0 to 1 from the top left. */
/** @typedef {{right: number, down: number, ahead: number}} CameraPoint A point in camera axes. */

const DEGREE = Math.PI / 180;
const NEAR = 0.08;

/**
 * Returns the pose of a camera-to-world matrix.
 * @param {number[][]} matrix `[4][4]`
 * @returns {Pose}
 */
export function poseOf(matrix) {
  const [fx, fy, fz] = [matrix[0][2], matrix[1][2], matrix[2][2]];
  return {
    x: matrix[0][3], y: matrix[1][3], z: matrix[2][3],
    yaw: Math.atan2(fx, fz) / DEGREE, pitch: Math.atan2(-fy, Math.hypot(fx, fz)) / DEGREE, roll: Math.atan2(matrix[1][0], matrix[1][1]) / DEGREE,
  };
}

/**
 * Returns the pose of a sampled frame, `[x, y, z, yaw, pitch, roll]`.
 * @param {number[]} frame
 * @returns {Pose}
 */
export function poseOfFrame([x, y, z, yaw, pitch, roll]) {
  return { x, y, z, yaw, pitch, roll };
}

/**
 * Returns degrees as -180 to 180.
 * @param {number} degrees
 */
export function wrapped(degrees) {
  return degrees - 360 * Math.round(degrees / 360);
}

/**
 * Returns the yaw from one point towards another.
 * @param {GroundPoint} from
 * @param {GroundPoint} to
 */
export function yawTowards(from, to) {
  return Math.atan2(to.x - from.x, to.z - from.z) / DEGREE;
}

/**
 * Returns the point ahead on the ground.
 * @param {GroundPoint & {yaw: number}} pose
 * @param {number} distance
 */
export function ahead({ x, z, yaw }, distance) {
  return { x: x + distance * Math.sin(yaw * DEGREE), z: z + distance * Math.cos(yaw * DEGREE) };
}

/**
 * Interpolates linearly between two poses that are near each other; for drawing only.
 * @param {Pose} a
 * @param {Pose} b
 * @param {number} share 0 to 1
 * @returns {Pose}
 */
export function between(a, b, share) {
  /** @param {keyof Pose} name */
  const mix = (name) => a[name] + (b[name] - a[name]) * share;
  /** @param {keyof Pose} name */
  const turn = (name) => a[name] + wrapped(b[name] - a[name]) * share;
  return { x: mix('x'), y: mix('y'), z: mix('z'), yaw: turn('yaw'), pitch: turn('pitch'), roll: turn('roll') };
}

/** A pinhole camera. */
export class PinholeCamera {
  /** @type {Pose} */
  #pose;
  /** @type {Record<'right' | 'down' | 'ahead', number[]>} */
  #axes;
  /** Tangent of half the field of view. @type {number} */
  #reach;
  /** @type {number} */
  #aspect;

  /**
   * @param {Pose} pose
   * @param {number} degrees horizontal field of view
   * @param {number} aspect width / height of the frame
   */
  constructor(pose, degrees, aspect) {
    const [cy, sy] = [Math.cos(pose.yaw * DEGREE), Math.sin(pose.yaw * DEGREE)];
    const [cp, sp] = [Math.cos(pose.pitch * DEGREE), Math.sin(pose.pitch * DEGREE)];
    const [cr, sr] = [Math.cos(pose.roll * DEGREE), Math.sin(pose.roll * DEGREE)];
    const right = [cy, 0, -sy];
    const down = [sy * sp, cp, cy * sp];
    this.#pose = pose;
    this.#axes = {
      right: right.map((value, i) => value * cr + down[i] * sr),
      down: right.map((value, i) => -value * sr + down[i] * cr),
      ahead: [sy * cp, -sp, cy * cp],
    };
    this.#reach = Math.tan((degrees / 2) * DEGREE);
    this.#aspect = aspect;
  }

  /**
   * Returns a point in camera axes.
   * @param {Point} point
   * @returns {CameraPoint}
   */
  seen({ x, y, z }) {
    const off = [x - this.#pose.x, y - this.#pose.y, z - this.#pose.z];
    /** @param {number[]} axis */
    const along = (axis) => axis[0] * off[0] + axis[1] * off[1] + axis[2] * off[2];
    return { right: along(this.#axes.right), down: along(this.#axes.down), ahead: along(this.#axes.ahead) };
  }

  /**
   * Projects a point; null behind the camera.
   * @param {Point} point
   */
  project(point) {
    const seen = this.seen(point);
    return seen.ahead < NEAR ? null : this.#placed(seen);
  }

  /**
   * Projects a line, clipped at the near plane; null behind the camera.
   * @param {Point} from
   * @param {Point} to
   */
  line(from, to) {
    let [a, b] = [this.seen(from), this.seen(to)];
    if (a.ahead < NEAR && b.ahead < NEAR) return null;
    if (a.ahead < NEAR) a = cut(a, b);
    if (b.ahead < NEAR) b = cut(b, a);
    return [this.#placed(a), this.#placed(b)];
  }

  /**
   * Returns the point at height `y` seen at a place of the frame, or null above the horizon.
   * @param {ImagePoint} place
   * @param {number} y
   */
  onFloor({ u, v }, y) {
    const right = (2 * u - 1) * this.#reach;
    const down = ((2 * v - 1) * this.#reach) / this.#aspect;
    const way = [0, 1, 2].map((i) => this.#axes.right[i] * right + this.#axes.down[i] * down + this.#axes.ahead[i]);
    const distance = (y - this.#pose.y) / way[1];
    if (!(distance > 0) || distance > 200) return null;
    return { x: this.#pose.x + distance * way[0], z: this.#pose.z + distance * way[2] };
  }

  /**
   * @param {CameraPoint} point
   * @returns {ImagePoint}
   */
  #placed({ right, down, ahead: depth }) {
    return { u: 0.5 + right / depth / this.#reach / 2, v: 0.5 + ((down / depth / this.#reach) * this.#aspect) / 2 };
  }
}

/**
 * Clips a line at the near plane.
 * @param {CameraPoint} hidden
 * @param {CameraPoint} shown
 * @returns {CameraPoint}
 */
function cut(hidden, shown) {
  const share = (NEAR - hidden.ahead) / (shown.ahead - hidden.ahead);
  /** @param {keyof CameraPoint} name */
  const mix = (name) => hidden[name] + (shown[name] - hidden[name]) * share;
  return { right: mix('right'), down: mix('down'), ahead: NEAR };
}
