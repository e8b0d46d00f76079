// @ts-check
/** Reasons why no session begins, as sentences for the visitor. */

/** Error codes of a `start` that would fail again. */
export const FINAL_ERRORS = new Set([
  'unknown_world', 'unknown_scene', 'unsupported', 'world_failed', 'session_failed', 'unknown_watch', 'unknown_replay', 'unknown_image', 'bad_replay', 'full',
]);

/**
 * Finds out by a plain request why the socket does not open: a browser does not tell. Returns the overlay's status.
 * @returns {Promise<{kind: 'unreachable' | 'blocked' | 'refused', reason: string}>}
 */
export async function diagnose() {
  try {
    const response = await fetch('api/worlds', { cache: 'no-store' });
    if (!response.ok) return { kind: 'refused', reason: sentence((await response.text()).slice(0, 300)) };
    // A browser names the page's origin with a socket and a POST, not with a GET: a proxy may have changed what it is compared with.
    const origin = await fetch('api/worlds', { method: 'POST', cache: 'no-store' });
    return origin.status === 403 ? { kind: 'refused', reason: sentence((await origin.text()).slice(0, 300)) } : { kind: 'blocked', reason: '' };
  } catch {
    return { kind: 'unreachable', reason: '' };
  }
}

/**
 * Makes a sentence of a server's message, which begins in lower case where it names a field.
 * @param {string} text
 */
export function sentence(text) {
  const tidy = text.trim();
  return tidy.charAt(0).toUpperCase() + tidy.slice(1) + (/[.!?]$/.test(tidy) ? '' : '.');
}
