// @ts-check
/** The screen wake lock, where the browser allows it. */

/** @type {WakeLockSentinel | null} */
let lock = null;

/**
 * Acquires or releases the wake lock.
 * @param {boolean} wanted
 */
export async function setWakeLock(wanted) {
  try {
    if (wanted && !lock) {
      lock = (await navigator.wakeLock?.request('screen')) ?? null;
      lock?.addEventListener('release', () => { lock = null; });
    } else if (!wanted && lock) {
      await lock.release();
    }
  } catch {
    lock = null; // forbidden on battery saver and plain http
  }
}
