/** What the editor asks of the server: a scene's plan, a path's frames and files, and the key poses of files. */

import { answered } from '../lib/downloads.js';

const JSON_TYPE = Object.freeze({ 'content-type': 'application/json' });

/** Map, lens, rules and shipped paths of a scene. */
export function planOf({ scene, seed }) {
  return asJson(fetch(`api/shots/plan?${new URLSearchParams({ scene, seed })}`, { cache: 'no-store' }));
}

/** `{fps, seconds, moved, at, frames}` of a path as the server takes it (`PathDocument.asked`). */
export function sampled(shot) {
  return asJson(fetch('api/shots/sample', { method: 'POST', body: JSON.stringify(shot), headers: JSON_TYPE }));
}

/** The path as a file: `flashdreams`, `nerfstudio`, `tum` or `numpy`. */
export async function filed(shot, format) {
  const address = `api/shots/file?${new URLSearchParams({ format })}`;
  return (await answered(fetch(address, { method: 'POST', body: JSON.stringify(shot), headers: JSON_TYPE }))).blob();
}

/** Hands a file over; the name that it has from now on. `fps`: the rate of files that name none. */
export async function upload(file, fps) {
  return (await asJson(fetch(`api/paths?${new URLSearchParams({ fps })}`, { method: 'POST', body: file }))).name;
}

/** The key poses of a file that the server knows by `file`; `distance`, `degrees`: how far off the path may be drawn. */
export function keysOf(file, { scene, seed }, { distance, degrees }) {
  return asJson(fetch(`api/shots/keys?${new URLSearchParams({ file, scene, seed, distance, degrees })}`, { cache: 'no-store' }));
}

/** The way walked after chunk `since`, as a file. */
export async function walkedSince(token, since) {
  return (await answered(fetch(`api/sessions/${encodeURIComponent(token)}/trajectory.json?${new URLSearchParams({ since })}`, { cache: 'no-store' }))).blob();
}

/** The pictures of the chunks after `since`: `[{index, thumb}]`. */
export async function thumbsSince(token, since) {
  return (await asJson(fetch(`api/sessions/${encodeURIComponent(token)}/filmstrip?${new URLSearchParams({ since })}`, { cache: 'no-store' }))).chunks;
}

async function asJson(request) {
  return (await answered(request)).json();
}

/**
 * Samples the newest state of a path: while one answer is awaited only the newest of the later wishes is kept, so that a
 * drag never piles up. `on.sampled(answer)`, or `on.refused(sentence)`; both only for the newest wish.
 */
export class Sampler {
  #on;
  #waiting = null;
  #busy = false;
  #wish = 0;
  #waiters = [];

  constructor(on) {
    this.#on = on;
  }

  /** Whether an answer is still to come. */
  get busy() {
    return this.#busy;
  }

  /** Resolves once no answer is awaited any more. */
  settled() {
    return this.#busy ? new Promise((done) => { this.#waiters.push(done); }) : Promise.resolve();
  }

  want(shot) {
    this.#wish += 1;
    this.#waiting = shot;
    if (!this.#busy) this.#ask();
  }

  /** The answers to come are not wanted any more. */
  forget() {
    this.#wish += 1;
    this.#waiting = null;
  }

  async #ask() {
    this.#busy = true;
    while (this.#waiting) {
      const [shot, wish] = [this.#waiting, this.#wish];
      this.#waiting = null;
      let tell;
      try {
        const answer = await sampled(shot);
        tell = () => this.#on.sampled(answer);
      } catch (error) {
        tell = () => this.#on.refused(error.message);
      }
      this.#busy = this.#waiting !== null;
      if (wish === this.#wish) tell();
    }
    this.#busy = false;
    for (const done of this.#waiters.splice(0)) done();
  }
}
