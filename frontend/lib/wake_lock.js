/** Keeps the screen awake while somebody plays, where the browser allows it. */

let lock = null;

/** Holds the screen awake, or lets it sleep. */
export async function stayAwake(wish) {
  try {
    if (wish && !lock) {
      lock = await navigator.wakeLock?.request('screen');
      lock?.addEventListener('release', () => { lock = null; });
    } else if (!wish && lock) {
      await lock.release();
    }
  } catch {
    lock = null; // not allowed on battery saver or plain http; the screen may then sleep
  }
}
