/** Thumb sticks for touch screens, and what a deflected stick means, be it drawn on a screen or part of a gamepad. */

const STICK_KEYS_FROM = 0.28;
const LOOK_DEAD_ZONE = 0.14;
const LOOK_DEG_PER_S = Object.freeze({ yaw: 110, pitch: 60 });

/** The keys that a deflection stands for: `x` to the right, `y` downwards, -1 to 1. Sideways steps aside. */
export function walkingKeys(x, y) {
  const names = [];
  if (y < -STICK_KEYS_FROM) names.push('w');
  if (y > STICK_KEYS_FROM) names.push('s');
  if (x < -STICK_KEYS_FROM) names.push('q');
  if (x > STICK_KEYS_FROM) names.push('e');
  return names;
}

/** How fast a deflection turns the view, in degrees a second; finest near the middle. */
export function lookRate(x, y) {
  const bent = (value) => Math.sign(value) * (Math.max(0, Math.abs(value) - LOOK_DEAD_ZONE) / (1 - LOOK_DEAD_ZONE)) ** 1.7;
  return { yaw: bent(x) * LOOK_DEG_PER_S.yaw, pitch: -bent(y) * LOOK_DEG_PER_S.pitch };
}

/**
 * Watches `base` (a round element with a child knob) and calls `onMove(x, y)` with its deflection. Returns a function
 * that lets it go.
 */
export function attachStick(base, onMove) {
  const knob = base.firstElementChild;
  let pointer = null;

  const set = (x, y) => {
    knob.style.transform = `translate(${x * 34}%, ${y * 34}%)`;
    onMove(x, y);
  };

  const follow = (event) => {
    if (event.pointerId !== pointer) return;
    const box = base.getBoundingClientRect();
    const x = (2 * (event.clientX - box.left)) / box.width - 1;
    const y = (2 * (event.clientY - box.top)) / box.height - 1;
    const length = Math.max(1, Math.hypot(x, y));
    set(x / length, y / length);
  };

  const letGo = () => {
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
  for (const end of ['pointerup', 'pointercancel']) base.addEventListener(end, (event) => event.pointerId === pointer && letGo());
  return letGo;
}
