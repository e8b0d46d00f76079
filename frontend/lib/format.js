// @ts-check
/** Formats a world's facts, durations and sizes as text. */

/**
 * Returns `9300000` as `9.3 million parameters`; nothing for none.
 * @param {number | null | undefined} parameters
 */
export function modelSize(parameters) {
  if (!parameters) return '';
  const billions = parameters >= 1e9;
  const value = parameters / (billions ? 1e9 : 1e6);
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${billions ? 'billion' : 'million'} parameters`;
}

/**
 * Returns the line under the list of keys.
 * @param {import('../net/session.js').SessionInfo | null} info
 */
export function aboutWorld(info) {
  if (!info) return '';
  return [info.title, modelSize(info.parameters), `${info.width} × ${info.height}, ${info.fps} fps`, info.mime].filter(Boolean).join(' · ');
}

/**
 * Returns bytes as MiB.
 * @param {number} bytes
 */
export function mib(bytes) {
  return `${Math.round(bytes / 2 ** 20)} MiB`;
}

/**
 * Returns `62.25` seconds as `1:02.3`.
 * @param {number} seconds
 */
export function clockTime(seconds) {
  const tenths = Math.round(10 * seconds);
  const rest = tenths % 600;
  return `${Math.floor(tenths / 600)}:${String(Math.floor(rest / 10)).padStart(2, '0')}.${rest % 10}`;
}
