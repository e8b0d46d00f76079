// @ts-check
/** Locks the kiosk's page: no menu, no selection, no zoom, no drag and drop, no printing, none of the browser's keys. */

/** Keys that a page may still cancel; the others (Ctrl+W, Alt+F4) are cancelled by the browser's own kiosk mode. */
const CANCELLED_KEYS = /^(F\d+|Tab|Escape|Backspace|ContextMenu|PrintScreen|BrowserBack|BrowserForward|BrowserRefresh|BrowserHome)$/;
/** A file dropped from another window would replace the page. */
const CANCELLED_EVENTS = ['contextmenu', 'selectstart', 'dragstart', 'dragenter', 'dragover', 'drop', 'gesturestart', 'auxclick'];

/** Locks the page. Call once. */
export function lockPage() {
  for (const type of CANCELLED_EVENTS) window.addEventListener(type, cancel, { capture: true });
  window.addEventListener('wheel', cancel, { passive: false });
  window.addEventListener('touchmove', cancel, { passive: false });
  window.addEventListener('beforeprint', (event) => {
    cancel(event);
    event.stopImmediatePropagation();
    // No page can refuse to be printed: the style sheet leaves nothing to print.
  });
  window.print = () => {};
  window.open = () => null;
  window.addEventListener('keydown', (event) => {
    if (CANCELLED_KEYS.test(event.key) || event.ctrlKey || event.metaKey || event.altKey) event.preventDefault();
  }, { capture: true });
  history.pushState(null, '');
  window.addEventListener('popstate', () => history.pushState(null, '')); // a swipe back stays here
}

/** @param {Event} event */
function cancel(event) {
  event.preventDefault();
}

/** Requests full screen; browsers allow it only within a gesture, and where it is refused the window stays as it is. */
export async function fillScreen() {
  if (document.fullscreenElement || !navigator.userActivation?.isActive) return;
  try {
    await document.documentElement.requestFullscreen({ navigationUI: 'hide' });
    await /** @type {any} */ (navigator).keyboard?.lock?.();
  } catch {
    // a browser in kiosk mode fills the screen anyway
  }
}
