// @ts-check
/** Downloads and links of a session: video, still, camera path, save file; each is a file of the server's. */

const CLIP_S = 30;

/**
 * Returns the server's response. Raises Error with its message if it refused.
 * @param {Promise<Response>} promise
 */
export async function answered(promise) {
  /** @type {Response} */
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

/**
 * Has the browser save a file.
 * @param {Blob} blob
 * @param {string} name
 */
export function saveAs(blob, name) {
  const link = Object.assign(document.createElement('a'), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // the browser may still be reading it
}

/**
 * Returns the full address of a link such as `/?replay=x`, relative to the page: a proxy may serve it under a path.
 * @param {string} link
 */
function linkTo(link) {
  return new URL(`./${link.replace(/^\.?\//, '')}`, document.baseURI).href;
}

export class Downloads {
  #info;
  #receivedSeconds;
  /** @type {number | null} */
  #recordingFrom = null;

  /**
   * @param {() => import('../net/session.js').SessionInfo | null} info
   * @param {() => number} receivedSeconds seconds of video received so far
   */
  constructor(info, receivedSeconds) {
    this.#info = info;
    this.#receivedSeconds = receivedSeconds;
  }

  /** Seconds recorded so far, or null while nothing is recorded. */
  get recorded() {
    return this.#recordingFrom === null ? null : Math.max(0, this.#receivedSeconds() - this.#recordingFrom);
  }

  /** Starts to record. */
  record() {
    this.#recordingFrom = this.#receivedSeconds();
  }

  /** Stops, and saves the recording. Raises Error if it is empty. */
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

  /**
   * Saves the newest seconds of video.
   * @param {number} seconds
   */
  video(seconds) {
    return this.#save(`recording.mp4?seconds=${seconds.toFixed(3)}`, 'path.mp4');
  }

  /** Saves the newest frame. */
  still() {
    return this.#save('still.png', 'still.png');
  }

  /** Saves the camera path as JSON. */
  trajectory() {
    return this.#save('trajectory.json', 'trajectory.json');
  }

  /** Saves the session: seed and inputs, to be replayed. */
  savedSession() {
    return this.#save('save.json', 'dream.json');
  }

  /** Saves the session on the server. Returns the link that replays it. */
  async replayLink() {
    const answer = await answered(fetch(this.#address('replay'), { method: 'POST' }));
    return linkTo((await answer.json()).link);
  }

  /** Link for spectators of this session. */
  get watchLink() {
    const link = new URL('./', document.baseURI);
    link.searchParams.set('watch', this.#token('watch'));
    return link.href;
  }

  /**
   * Uploads a save file. Returns the link that replays it.
   * @param {File} file
   */
  async open(file) {
    const answer = await answered(fetch('api/replays', { method: 'POST', body: file, headers: { 'content-type': 'application/json' } }));
    return linkTo((await answer.json()).link);
  }

  /**
   * Returns the filmstrip.
   * @returns {Promise<import('../views/filmstrip.js').Strip>}
   */
  async filmstrip() {
    return (await answered(fetch(this.#address('filmstrip'), { cache: 'no-store' }))).json();
  }

  /**
   * @param {string} what file of the session's API
   * @param {string} name
   */
  async #save(what, name) {
    const blob = await (await answered(fetch(this.#address(what), { cache: 'no-store' }))).blob();
    const info = this.#info();
    saveAs(blob, `flashdreams-${info?.scene}-${info?.seed}-${name}`);
  }

  /** @param {'watch' | 'any'} kind */
  #token(kind) {
    const info = this.#info();
    if (!info) throw new Error('There is no dream yet.');
    return kind === 'watch' || info.spectator ? info.watch : info.token;
  }

  /** @param {string} what */
  #address(what) {
    return `api/sessions/${encodeURIComponent(this.#token('any'))}/${what}`;
  }
}
