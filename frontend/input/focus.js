/** Moves the focus with a gamepad, as the tab key does, and presses what has it. */

const FOCUSABLE = 'button:not([disabled]), input:not([disabled]), textarea, a[href]';

/** Focuses the next (`step` 1) or previous (-1) control that can be seen. */
export function moveFocus(step) {
  const within = document.querySelector('dialog[open]') ?? document.body;
  const controls = [...within.querySelectorAll(FOCUSABLE)].filter((one) => one.checkVisibility({ visibilityProperty: true }) && !one.closest('[inert]'));
  if (controls.length === 0) return;
  const at = controls.indexOf(document.activeElement);
  const next = at < 0 ? (step > 0 ? 0 : controls.length - 1) : (at + step + controls.length) % controls.length;
  controls[next].focus({ focusVisible: true });
}

/** Presses the control that has the focus; false where none has. */
export function pressFocused() {
  const focused = document.activeElement;
  if (!focused?.matches?.(FOCUSABLE)) return false;
  focused.click();
  return true;
}
