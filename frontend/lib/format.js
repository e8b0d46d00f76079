/** What is said of a world and its model. */

/** `9300000` -> `9.3 million parameters`; nothing for none. */
export function modelSize(parameters) {
  if (!parameters) return '';
  const [value, unit] = parameters >= 1e9 ? [parameters / 1e9, 'billion'] : [parameters / 1e6, 'million'];
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${unit} parameters`;
}

/** The line under the list of keys; `info`: the server's `ready`, or null. */
export function aboutWorld(info) {
  if (!info) return '';
  return [info.title, modelSize(info.parameters), `${info.width} × ${info.height}, ${info.fps} fps`, info.mime].filter(Boolean).join(' · ');
}
