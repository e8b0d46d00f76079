/** Paths from elsewhere and to elsewhere: walks just walked, shipped paths, and files in four formats. */

import { saveAs } from '../lib/downloads.js';
import { filed, keysOf, upload, walkedSince } from './requests.js';

const NAMES = Object.freeze({ flashdreams: 'path.json', nerfstudio: 'camera_path.json', tum: 'path.txt', numpy: 'poses.zip' });
/** How far off the path may be drawn: of files near to what is written there, of walks near enough for few key poses. */
const FILE = Object.freeze({ distance: 0.1, degrees: 2 });
const WALK = Object.freeze({ distance: 0.12, degrees: 3 });

/** Reads the way walked after chunk `since` into `path`. Returns what to say of it. */
export async function readWalk(path, token, since, where, fps) {
  const name = await upload(await walkedSince(token, since), fps);
  const read = await keysOf(name, where, WALK);
  path.replace(heightsOf(read.keys, where), { pace: 'times', closed: false, easing: 'none' });
  return `${read.seconds.toFixed(1)} s of walking are ${read.keys.length} key poses now, nowhere more than ${near(read)} off.`;
}

/** Reads a shipped path, or one that was uploaded, into `path`. Returns what to say of it. */
export async function readNamed(path, name, where) {
  const read = await keysOf(name, where, FILE);
  path.replace(heightsOf(read.keys, where), { pace: 'times', closed: false, easing: 'none' });
  const moved = read.anchored ? ' It was made in other coordinates, so it begins at the entrance here.' : '';
  return `${read.poses} poses are ${read.keys.length} key poses now, nowhere more than ${near(read)} off.${moved}`;
}

/** Reads the visitor's files; of NumPy's two the poses count. Returns what to say of it. */
export async function readFiles(path, files, where, fps) {
  const lens = files.find(({ name }) => /intrinsics.*\.npy$/i.test(name));
  const file = files.find((one) => one !== lens);
  if (!file) throw new Error('intrinsics.npy is only the lens: choose poses.npy too, or a zip of both.');
  const said = await readNamed(path, await upload(file, fps), where);
  return lens ? `${said} The world has a lens of its own, so that of ${lens.name} is left.` : said;
}

/** Saves the path in a format; `format` as in `filed`. */
export async function saveFile(path, format, where) {
  saveAs(await filed(path.asked(where), format), NAMES[format]);
}

/** Where the world holds a camera on its ground no key has a height of its own. */
function heightsOf(keys, { freeHeight }) {
  return freeHeight ? keys : keys.map((key) => ({ ...key, y: null }));
}

function near({ off, turned }) {
  return `${Math.max(1, Math.round(100 * off))} cm and ${turned.toFixed(1)}°`;
}
