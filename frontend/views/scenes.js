// @ts-check
/** The scene picker, and the seed and scene in the page's address. */

/** @typedef {import('../net/session.js').SessionInfo['scenes'][number]} SceneInfo */

/** Largest seed of the protocol. */
export const LARGEST_SEED = 2 ** 32 - 1;
/** Characters that the server takes of a text and of any other field. */
const LONGEST_TEXT = 2000, LONGEST_NAME = 128;

export class ScenePicker {
  /** @type {HTMLElement} */
  #root;
  #onPick;
  /** Button of each scene, by name. @type {Map<string, HTMLButtonElement>} */
  #buttons = new Map();
  #known = '';

  /**
   * @param {HTMLElement} root
   * @param {(name: string) => void} onPick
   */
  constructor(root, onPick) {
    this.#root = root;
    this.#onPick = onPick;
  }

  /**
   * Draws the scenes, once.
   * @param {SceneInfo[]} scenes
   */
  fill(scenes) {
    const known = JSON.stringify(scenes);
    if (known === this.#known) return;
    this.#known = known;
    this.#buttons = new Map(scenes.map((scene, i) => [scene.name, this.#button(scene, i)]));
    this.#root.replaceChildren(...this.#buttons.values());
  }

  /** Names in the order shown. */
  get names() {
    return [...this.#buttons.keys()];
  }

  /**
   * Marks the present scene.
   * @param {string} name
   */
  mark(name) {
    for (const [scene, button] of this.#buttons) button.setAttribute('aria-pressed', String(scene === name));
  }

  /** @param {string} name */
  title(name) {
    return this.#buttons.get(name)?.dataset.title ?? name ?? '';
  }

  /**
   * @param {SceneInfo} scene
   * @param {number} index
   */
  #button(scene, index) {
    const button = document.createElement('button');
    button.type = 'button';
    button.dataset.scene = scene.name;
    button.dataset.title = scene.title;
    button.title = index < 9 ? `${scene.title} (${index + 1})` : scene.title;
    const thumbnail = document.createElement('span');
    thumbnail.className = 'thumbnail';
    if (scene.thumbnail) {
      const image = Object.assign(new Image(), { alt: '', src: scene.thumbnail.replace(/^\//, ''), decoding: 'async', draggable: false });
      thumbnail.append(image);
    }
    const title = Object.assign(document.createElement('span'), { className: 'title', textContent: scene.title });
    button.append(thumbnail, title);
    button.addEventListener('click', () => this.#onPick(scene.name));
    return button;
  }
}

/** Returns the fields of `start` that the address names: `?world=&scene=&seed=&text=&image=`, `?replay=` or `?watch=`. */
export function wantedFromAddress() {
  const asked = new URLSearchParams(location.search);
  /** @type {import('../net/connection.js').StartFields} */
  const wanted = {};
  for (const name of /** @type {const} */ (['world', 'scene', 'text', 'image', 'replay', 'watch'])) {
    const value = asked.get(name);
    if (value) wanted[name] = value.slice(0, name === 'text' ? LONGEST_TEXT : LONGEST_NAME);
  }
  const seed = parseSeed(asked.get('seed') ?? '');
  if (seed !== null) wanted.seed = seed;
  return wanted;
}

/** Returns what to say of a seed in the address that is none, or null. */
export function wrongSeedInAddress() {
  const text = new URLSearchParams(location.search).get('seed');
  if (!text || parseSeed(text) !== null) return null;
  const quoted = text.length > 20 ? `${text.slice(0, 20)}…` : text;
  return `“${quoted}” in the link is no seed (a whole number from 0 to ${LARGEST_SEED}): another one is used`;
}

/**
 * Writes world, scene, seed, text and start picture into the address, so that a copied link shows the same world; or the replay, during one.
 * @param {import('../net/session.js').SessionInfo} info
 */
export function writeAddress({ world, scene, seed, text, image, replay }) {
  const address = new URL(location.href);
  /** @type {Record<string, unknown>} */
  const named = replay ? { replay } : { world, scene, seed, text: text || null, image };
  for (const name of ['world', 'scene', 'seed', 'text', 'image', 'replay', 'watch']) {
    if (named[name] === undefined || named[name] === null) address.searchParams.delete(name);
    else address.searchParams.set(name, String(named[name]));
  }
  if (address.href !== location.href) history.replaceState(null, '', address);
}

/**
 * Returns the seed of a text, or null.
 * @param {string} text
 */
export function parseSeed(text) {
  if (!/^\d{1,10}$/.test(text.trim())) return null;
  const seed = Number(text);
  return seed <= LARGEST_SEED ? seed : null;
}

/** Returns a random seed of at most six digits. */
export function drawSeed() {
  return crypto.getRandomValues(new Uint32Array(1))[0] % 1_000_000;
}
