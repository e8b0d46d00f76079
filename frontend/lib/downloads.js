/** What can be kept of a dream: video, stills, camera path, save file, and links; each is the server's own file. */

const CLIP_S = 30;

/** Reads an answer of the server; throws an Error with its sentence where it refused. */
export async function answered(promise) {
  let answer;
  try {
    answer = await promise;
  } catch {
    throw new Error('The server does not answer.');
  }
  if (answer.ok) return answer;
  const text = await answer.text();
  let message = text.slice(0, 300) || `The server answers ${answer.status}.`;
  try {
    message = JSON.parse(text).message ?? message;
  } catch {
    // plain text is a sentence already
  }
  throw new Error(message.charAt(0).toUpperCase() + message.slice(1));
}

/** Has the browser save a file under a name. */
export function saveAs(blob, name) {
  const link = Object.assign(document.createElement('a'), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // the browser may still be reading it
}

export class Keeping {
  #info;
  #dreamedSeconds;
  #recordingFrom = null;

  /** `info()`: the present session's `ready`; `dreamedSeconds()`: seconds of video that have come so far. */
  constructor(info, dreamedSeconds) {
    this.#info = info;
    this.#dreamedSeconds = dreamedSeconds;
  }

  /** Seconds recorded so far, or null while nothing is recorded. */
  get recorded() {
    return this.#recordingFrom === null ? null : Math.max(0, this.#dreamedSeconds() - this.#recordingFrom);
  }

  /** Begins to record. */
  record() {
    this.#recordingFrom = this.#dreamedSeconds();
  }

  /** Saves what was recorded. */
  async stop() {
    const length = this.recorded;
    this.#recordingFrom = null;
    if (length === null || length === 0) throw new Error('Nothing moved while it was recording, so there is nothing to save.');
    await this.#save(`recording.mp4?seconds=${length.toFixed(2)}`, 'recording.mp4');
  }

  /** Saves the newest 30 seconds. */
  clip() {
    return this.#save(`recording.mp4?seconds=${CLIP_S}`, 'clip.mp4');
  }

  /** Saves the newest `seconds` of video. */
  video(seconds) {
    return this.#save(`recording.mp4?seconds=${seconds.toFixed(3)}`, 'take.mp4');
  }

  /** Saves the newest frame. */
  still() {
    return this.#save('still.png', 'still.png');
  }

  /** Saves the camera's way as JSON. */
  trajectory() {
    return this.#save('trajectory.json', 'trajectory.json');
  }

  /** Saves the dream itself: seed and inputs, to be played again. */
  dream() {
    return this.#save('save.json', 'dream.json');
  }

  /** Keeps the dream on the server; returns the link that plays it again. */
  async replayLink() {
    const answer = await answered(fetch(this.#address('replay'), { method: 'POST' }));
    return new URL((await answer.json()).link, location.origin).href;
  }

  /** Link for watching this dream. */
  get watchLink() {
    const link = new URL(location.pathname, location.origin);
    link.searchParams.set('watch', this.#token('watch'));
    return link.href;
  }

  /** Hands a save file to the server; returns the address that plays it. */
  async open(file) {
    const answer = await answered(fetch('api/replays', { method: 'POST', body: file, headers: { 'content-type': 'application/json' } }));
    return new URL((await answer.json()).link, location.origin).href;
  }

  /** The filmstrip: `{head, chunks}`. */
  async filmstrip() {
    return (await answered(fetch(this.#address('filmstrip'), { cache: 'no-store' }))).json();
  }

  async #save(what, name) {
    const blob = await (await answered(fetch(this.#address(what), { cache: 'no-store' }))).blob();
    const { scene, seed } = this.#info();
    saveAs(blob, `flashdreams-${scene}-${seed}-${name}`);
  }

  #token(kind) {
    const info = this.#info();
    if (!info) throw new Error('There is no dream yet.');
    return kind === 'watch' || info.spectator ? info.watch : info.token;
  }

  #address(what) {
    return `api/sessions/${encodeURIComponent(this.#token('any'))}/${what}`;
  }
}
