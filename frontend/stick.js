/** A thumb stick for touch screens: forward and back walk, sideways turns, as W A S D do. */

const DEAD_ZONE = 0.28;

/** Watches `base` (a round element with a child knob) and calls `onKeys(names)` with the keys that it stands for. */
export function attachStick(base, onKeys) {
  const knob = base.firstElementChild;
  let pointer = null;

  const set = (x, y) => {
    knob.style.transform = `translate(${x * 34}%, ${y * 34}%)`;
    const names = [];
    if (y < -DEAD_ZONE) names.push('w');
    if (y > DEAD_ZONE) names.push('s');
    if (x < -DEAD_ZONE) names.push('a');
    if (x > DEAD_ZONE) names.push('d');
    onKeys(names);
  };

  const follow = (event) => {
    if (event.pointerId !== pointer) return;
    const box = base.getBoundingClientRect();
    const x = (2 * (event.clientX - box.left)) / box.width - 1;
    const y = (2 * (event.clientY - box.top)) / box.height - 1;
    const length = Math.max(1, Math.hypot(x, y));
    set(x / length, y / length);
  };

  const release = (event) => {
    if (event.pointerId !== pointer) return;
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
  base.addEventListener('pointerup', release);
  base.addEventListener('pointercancel', release);
}
