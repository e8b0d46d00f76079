/** No way out of the page, and none to break it: no menu, no selection, no zoom, no drag, no keys of the browser. */

/** Keys that a page may still swallow; what it may not (Ctrl+W, Alt+F4) is the browser's own kiosk mode's business. */
const SWALLOWED = /^(F\d+|Tab|Escape|Backspace|ContextMenu|PrintScreen|BrowserBack|BrowserForward|BrowserRefresh|BrowserHome)$/;

/** Call once. */
export function lockPage() {
  for (const type of ['contextmenu', 'selectstart', 'dragstart', 'gesturestart', 'auxclick']) {
    document.addEventListener(type, (event) => event.preventDefault());
  }
  window.addEventListener('wheel', (event) => event.preventDefault(), { passive: false });
  window.addEventListener('touchmove', (event) => event.preventDefault(), { passive: false });
  window.addEventListener('keydown', (event) => {
    if (SWALLOWED.test(event.key) || event.ctrlKey || event.metaKey || event.altKey) event.preventDefault();
  }, { capture: true });
  history.pushState(null, '');
  window.addEventListener('popstate', () => history.pushState(null, '')); // a swipe back stays here
}

/** Fills the screen; browsers allow it only within a gesture, and where it is refused the window is as large as it is. */
export async function fillScreen() {
  if (document.fullscreenElement || !navigator.userActivation?.isActive) return;
  try {
    await document.documentElement.requestFullscreen({ navigationUI: 'hide' });
    await navigator.keyboard?.lock?.();
  } catch {
    // a browser in kiosk mode fills the screen anyway
  }
}
