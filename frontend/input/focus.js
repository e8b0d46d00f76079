// @ts-check
/** Keyboard focus for gamepads: moves it as the Tab key does, and presses the focused control. */

const FOCUSABLE = 'button:not([disabled]), input:not([disabled]), textarea, a[href]';

/**
 * Focuses the next (1) or previous (-1) visible control.
 * @param {number} step
 */
export function moveFocus(step) {
  const within = document.querySelector('dialog[open]') ?? document.body;
  const controls = /** @type {HTMLElement[]} */ ([...within.querySelectorAll(FOCUSABLE)]).filter((one) => one.checkVisibility({ visibilityProperty: true }) && !one.closest('[inert]'));
  if (controls.length === 0) return;
  const at = controls.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  const next = at < 0 ? (step > 0 ? 0 : controls.length - 1) : (at + step + controls.length) % controls.length;
  controls[next].focus(/** @type {FocusOptions} */ ({ focusVisible: true }));
}

/** Presses the focused control; returns false where none has the focus. */
export function pressFocused() {
  const focused = document.activeElement;
  if (!(focused instanceof HTMLElement) || !focused.matches(FOCUSABLE)) return false;
  focused.click();
  return true;
}
