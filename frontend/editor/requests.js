// @ts-check
/** The editor's requests to the server: a scene's map, a path's sampled frames and files, the keyframes of files. */

/** @typedef {import('./geometry.js').Pose} Pose */
/** @typedef {import('./camera_path.js').CameraPath} CameraPath */
/** @typedef {import('./camera_path.js').Keyframe} Keyframe */
/** @typedef {Pick<import('./camera_path.js').Where, 'scene' | 'seed' | 'session'>} Place */
/** @typedef {ReturnType<CameraPath['asked']>} AskedPath A path as the server takes it. */
/** @typedef {{circle: [number, number, number] | null, corners: [number, number][], colour: string}} MapThing */
/** @typedef {{x: number, z: number, side: number, png: string}} Aerial A square of the land from above: its middle, its side, and a picture. */
/** @typedef {{radius: number | null, ground: string, things: MapThing[], blocked: [number, number, number][], aerial: Aerial | null}} SceneMap `radius`: null without bound. */
/** @typedef {{map: SceneMap | null, start: Pose, fps: number, size: [number, number], lens_degrees: number | null, pitch_limit: number | null, free_height: boolean, paths: string[]}} Plan Map, lens, limits and shipped paths of a scene. */
/** @typedef {{fps: number, seconds: number, moved: number, at: number[], frames: number[][]}} Sample `moved`: frames that were moved around things; `at`: seconds of each keyframe. */
/** @typedef {{keys: Omit<Keyframe, 'id'>[], poses: number, seconds: number, off: number, turned: number, anchored: boolean}} ReadKeys Keyframes of a file; `off`, `turned`: their largest errors. */
/** @typedef {'flashdreams' | 'nerfstudio' | 'tum' | 'numpy'} FileFormat */

import { answered } from '../lib/downloads.js';

const JSON_TYPE = Object.freeze({ 'content-type': 'application/json' });

/**
 * @param {Place} where
 * @returns {Promise<Plan>}
 */
export function planOf({ scene, seed, session }) {
  return asJson(fetch(`api/shots/plan?${new URLSearchParams({ scene, seed: String(seed), session })}`, { cache: 'no-store' }));
}

/**
 * Returns the map around the visitor, or null.
 * @param {string} token
 * @returns {Promise<SceneMap | null>}
 */
export async function mapAround(token) {
  return (await asJson(fetch(`api/sessions/${encodeURIComponent(token)}/map`, { cache: 'no-store' }))).map;
}

/**
 * @param {AskedPath} path
 * @returns {Promise<Sample>}
 */
export function sampled(path) {
  return asJson(fetch('api/shots/sample', { method: 'POST', body: JSON.stringify(path), headers: JSON_TYPE }));
}

/**
 * Returns the path as a file.
 * @param {AskedPath} path
 * @param {FileFormat} format
 */
export async function filed(path, format) {
  const address = `api/shots/file?${new URLSearchParams({ format })}`;
  return (await answered(fetch(address, { method: 'POST', body: JSON.stringify(path), headers: JSON_TYPE }))).blob();
}

/**
 * Uploads a file. Returns its name on the server, and what was assumed in reading it.
 * @param {Blob} file
 * @param {number} fps rate of files that name none
 * @returns {Promise<{name: string, notes: string[]}>}
 */
export async function upload(file, fps) {
  return asJson(fetch(`api/paths?${new URLSearchParams({ fps: String(fps) })}`, { method: 'POST', body: file }));
}

/**
 * Returns the keyframes of a file.
 * @param {string} file its name on the server
 * @param {Place} where
 * @param {{distance: number, degrees: number}} tolerance largest error of the path through the keyframes
 * @returns {Promise<ReadKeys>}
 */
export function keysOf(file, { scene, seed, session }, { distance, degrees }) {
  return asJson(fetch(`api/shots/keys?${new URLSearchParams({ file, scene, seed: String(seed), session, distance: String(distance), degrees: String(degrees) })}`, { cache: 'no-store' }));
}

/**
 * Returns the camera path since a chunk, as a file.
 * @param {string} token
 * @param {number} since
 */
export async function walkedSince(token, since) {
  return (await answered(fetch(`api/sessions/${encodeURIComponent(token)}/trajectory.json?${new URLSearchParams({ since: String(since) })}`, { cache: 'no-store' }))).blob();
}

/**
 * Returns the thumbnails of the chunks after one.
 * @param {string} token
 * @param {number} since
 * @returns {Promise<{index: number, thumb: string | null}[]>}
 */
export async function thumbsSince(token, since) {
  return (await asJson(fetch(`api/sessions/${encodeURIComponent(token)}/filmstrip?${new URLSearchParams({ since: String(since) })}`, { cache: 'no-store' }))).chunks;
}

/** @param {Promise<Response>} request */
async function asJson(request) {
  return (await answered(request)).json();
}

/** Samples the newest state of a path: while a response is due, only the newest later request is kept. */
export class Sampler {
  /** @type {{sampled: (sample: Sample) => void, refused: (message: string) => void}} */
  #on;
  /** @type {AskedPath | null} */
  #waiting = null;
  #busy = false;
  #request = 0;
  /** @type {(() => void)[]} */
  #waiters = [];

  /** @param {{sampled: (sample: Sample) => void, refused: (message: string) => void}} on called for the newest request only */
  constructor(on) {
    this.#on = on;
  }

  /** True while a response is due. */
  get busy() {
    return this.#busy;
  }

  /**
   * Resolves once no response is due.
   * @returns {Promise<void>}
   */
  settled() {
    return this.#busy ? new Promise((done) => { this.#waiters.push(done); }) : Promise.resolve();
  }

  /** @param {AskedPath} path */
  request(path) {
    this.#request += 1;
    this.#waiting = path;
    if (!this.#busy) this.#ask();
  }

  /** Ignores the responses to come. */
  forget() {
    this.#request += 1;
    this.#waiting = null;
  }

  async #ask() {
    this.#busy = true;
    while (this.#waiting) {
      const [path, request] = [this.#waiting, this.#request];
      this.#waiting = null;
      /** @type {() => void} */
      let report;
      try {
        const answer = await sampled(path);
        report = () => this.#on.sampled(answer);
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        report = () => this.#on.refused(message);
      }
      this.#busy = this.#waiting !== null;
      if (request === this.#request) report();
    }
    this.#busy = false;
    for (const done of this.#waiters.splice(0)) done();
  }
}
