/** The scene picker: a thumbnail each, the present one marked. And the address line, which names scene and seed. */

export class ScenePicker {
  #root;
  #onPick;
  #buttons = new Map();
  #known = '';

  /** `onPick(name)`: the visitor chose a scene. */
  constructor(root, onPick) {
    this.#root = root;
    this.#onPick = onPick;
  }

  /** Draws `scenes` (`{name, title, thumbnail}`), once. */
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

  /** Marks the scene that is dreamed now. */
  mark(name) {
    for (const [scene, button] of this.#buttons) button.setAttribute('aria-pressed', String(scene === name));
  }

  title(name) {
    return this.#buttons.get(name)?.dataset.title ?? name ?? '';
  }

  #button(scene, index) {
    const button = document.createElement('button');
    button.type = 'button';
    button.dataset.scene = scene.name;
    button.dataset.title = scene.title;
    button.title = index < 9 ? `${scene.title} (${index + 1})` : scene.title;
    const picture = document.createElement('span');
    picture.className = 'picture';
    if (scene.thumbnail) {
      const image = Object.assign(new Image(), { alt: '', src: scene.thumbnail.replace(/^\//, ''), decoding: 'async', draggable: false });
      picture.append(image);
    }
    const title = Object.assign(document.createElement('span'), { className: 'title', textContent: scene.title });
    button.append(picture, title);
    button.addEventListener('click', () => this.#onPick(scene.name));
    return button;
  }
}

/**
 * What the address asks for: `?world=&scene=&seed=`, `?replay=` or `?watch=`; a seed that is no whole number from 0 to
 * 4294967295 is left out.
 */
export function wantedFromAddress() {
  const asked = new URLSearchParams(location.search);
  const wanted = {};
  for (const name of ['world', 'scene', 'replay', 'watch']) if (asked.get(name)) wanted[name] = asked.get(name).slice(0, 128);
  const seed = parseSeed(asked.get('seed') ?? '');
  if (seed !== null) wanted.seed = seed;
  return wanted;
}

/** Names world, scene and seed in the address, so that a copied link shows the same dream; or the replay, while it is one. */
export function writeAddress({ world, scene, seed, replay }) {
  const address = new URL(location.href);
  const named = replay ? { replay } : { world, scene, seed };
  for (const name of ['world', 'scene', 'seed', 'replay', 'watch']) {
    if (named[name] === undefined || named[name] === null) address.searchParams.delete(name);
    else address.searchParams.set(name, String(named[name]));
  }
  if (address.href !== location.href) history.replaceState(null, '', address);
}

/** The seed that `text` means, or null. */
export function parseSeed(text) {
  if (!/^\d{1,10}$/.test(text.trim())) return null;
  const seed = Number(text);
  return seed < 2 ** 32 ? seed : null;
}

/** A seed short enough to read aloud. */
export function drawSeed() {
  return crypto.getRandomValues(new Uint32Array(1))[0] % 1_000_000;
}
