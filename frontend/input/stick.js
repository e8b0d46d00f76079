// @ts-check
/** Thumb sticks for touch screens, and the keys and turns that a deflected stick stands for. */

const KEYS_FROM = 0.28;
const LOOK_DEAD_ZONE = 0.14;
const LOOK_DEG_PER_S = Object.freeze({ yaw: 110, pitch: 60 });
/** Finer control near the middle of the stick. */
const LOOK_EXPONENT = 1.7;

/**
 * Returns the keys that a deflection stands for. Sideways steps aside.
 * @param {number} x -1 to 1, to the right
 * @param {number} y -1 to 1, downwards
 * @param {number} from smallest deflection that counts
 */
export function walkingKeys(x, y, from = KEYS_FROM) {
  const names = [];
  if (y < -from) names.push('w');
  if (y > from) names.push('s');
  if (x < -from) names.push('q');
  if (x > from) names.push('e');
  return names;
}

/**
 * Returns the turn of the view in degrees a second.
 * @param {number} x -1 to 1, to the right
 * @param {number} y -1 to 1, downwards
 * @param {number} deadZone
 */
export function lookRate(x, y, deadZone = LOOK_DEAD_ZONE) {
  /** @param {number} value */
  const bent = (value) => Math.sign(value) * (Math.max(0, Math.abs(value) - deadZone) / (1 - deadZone)) ** LOOK_EXPONENT;
  return { yaw: bent(x) * LOOK_DEG_PER_S.yaw, pitch: -bent(y) * LOOK_DEG_PER_S.pitch };
}

/**
 * Watches a round element with a child knob. Returns a function that releases the stick.
 * @param {HTMLElement} base
 * @param {(x: number, y: number) => void} onMove
 */
export function attachStick(base, onMove) {
  const knob = /** @type {HTMLElement} */ (base.firstElementChild);
  /** @type {number | null} */
  let pointer = null;

  /** @param {number} x @param {number} y */
  const set = (x, y) => {
    knob.style.transform = `translate(${x * 34}%, ${y * 34}%)`;
    onMove(x, y);
  };

  /** @param {PointerEvent} event */
  const follow = (event) => {
    if (event.pointerId !== pointer) return;
    const box = base.getBoundingClientRect();
    const x = (2 * (event.clientX - box.left)) / box.width - 1;
    const y = (2 * (event.clientY - box.top)) / box.height - 1;
    const length = Math.max(1, Math.hypot(x, y));
    set(x / length, y / length);
  };

  const release = () => {
    if (pointer === null) return;
    pointer = null;
    set(0, 0);
  };

  base.addEventListener('pointerdown', (event) => {
    if (pointer !== null) return;
    event.preventDefault();
    pointer = event.pointerId;
    base.setPointerCapture(pointer);
    follow(event);
  });
  base.addEventListener('pointermove', follow);
  for (const end of /** @type {const} */ (['pointerup', 'pointercancel'])) base.addEventListener(end, (event) => event.pointerId === pointer && release());
  return release;
}
