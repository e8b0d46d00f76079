/**
 * Poses as the editor handles them, `{x, y, z, yaw, pitch, roll}` in world units and degrees: x right, y down, z ahead;
 * yaw to the right from +z, pitch upwards. And where things are in the picture.
 */

const DEGREE = Math.PI / 180;
const NEAR = 0.08;

/** Of a camera-to-world matrix `[4][4]`. */
export function poseOf(matrix) {
  const [fx, fy, fz] = [matrix[0][2], matrix[1][2], matrix[2][2]];
  return {
    x: matrix[0][3], y: matrix[1][3], z: matrix[2][3],
    yaw: Math.atan2(fx, fz) / DEGREE, pitch: Math.atan2(-fy, Math.hypot(fx, fz)) / DEGREE, roll: Math.atan2(matrix[1][0], matrix[1][1]) / DEGREE,
  };
}

/** A frame of the server's, `[x, y, z, yaw, pitch, roll]`. */
export function poseOfFrame([x, y, z, yaw, pitch, roll]) {
  return { x, y, z, yaw, pitch, roll };
}

/** Degrees as -180 to 180. */
export function wrapped(degrees) {
  return degrees - 360 * Math.round(degrees / 360);
}

/** The yaw that looks from one point to another. */
export function yawTowards(from, to) {
  return Math.atan2(to.x - from.x, to.z - from.z) / DEGREE;
}

/** The point `distance` ahead on the ground. */
export function ahead({ x, z, yaw }, distance) {
  return { x: x + distance * Math.sin(yaw * DEGREE), z: z + distance * Math.cos(yaw * DEGREE) };
}

/** For drawing only: the pose a share of the way between two that are near each other. */
export function between(a, b, share) {
  const mix = (name) => a[name] + (b[name] - a[name]) * share;
  const turn = (name) => a[name] + wrapped(b[name] - a[name]) * share;
  return { x: mix('x'), y: mix('y'), z: mix('z'), yaw: turn('yaw'), pitch: turn('pitch'), roll: turn('roll') };
}

/** A camera that pictures points: `pose`, the lens's horizontal degrees, and the picture's shape `width / height`. */
export class Lens {
  #pose;
  #axes;
  #reach;
  #aspect;

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

  /** A point as seen: `{right, down, ahead}`. */
  seen({ x, y, z }) {
    const off = [x - this.#pose.x, y - this.#pose.y, z - this.#pose.z];
    const along = (axis) => axis[0] * off[0] + axis[1] * off[1] + axis[2] * off[2];
    return { right: along(this.#axes.right), down: along(this.#axes.down), ahead: along(this.#axes.ahead) };
  }

  /** Where a point is in the picture, 0 to 1 from its top left; null behind the camera. */
  project(point) {
    const seen = this.seen(point);
    return seen.ahead < NEAR ? null : this.#placed(seen);
  }

  /** Where a line is in the picture, its part behind the camera left away: two places, or null. */
  line(from, to) {
    let [a, b] = [this.seen(from), this.seen(to)];
    if (a.ahead < NEAR && b.ahead < NEAR) return null;
    if (a.ahead < NEAR) a = cut(a, b);
    if (b.ahead < NEAR) b = cut(b, a);
    return [this.#placed(a), this.#placed(b)];
  }

  /** The point at height `y` seen at a place in the picture, or null where that is not below the horizon. */
  onFloor({ u, v }, y) {
    const right = (2 * u - 1) * this.#reach;
    const down = ((2 * v - 1) * this.#reach) / this.#aspect;
    const way = [0, 1, 2].map((i) => this.#axes.right[i] * right + this.#axes.down[i] * down + this.#axes.ahead[i]);
    const distance = (y - this.#pose.y) / way[1];
    if (!(distance > 0) || distance > 200) return null;
    return { x: this.#pose.x + distance * way[0], z: this.#pose.z + distance * way[2] };
  }

  #placed({ right, down, ahead: depth }) {
    return { u: 0.5 + right / depth / this.#reach / 2, v: 0.5 + ((down / depth / this.#reach) * this.#aspect) / 2 };
  }
}

function cut(hidden, shown) {
  const share = (NEAR - hidden.ahead) / (shown.ahead - hidden.ahead);
  const mix = (name) => hidden[name] + (shown[name] - hidden[name]) * share;
  return { right: mix('right'), down: mix('down'), ahead: NEAR };
}
