// @ts-check
/** Import and export of camera paths: the recorded walk, shipped paths, and files in four formats. */

import { saveAs } from '../lib/downloads.js';
import { sentence } from '../net/diagnosis.js';
import { filed, keysOf, upload, walkedSince } from './requests.js';

/** @typedef {import('./camera_path.js').CameraPath} CameraPath */
/** @typedef {import('./camera_path.js').Where} Where */

/** @type {Readonly<Record<import('./requests.js').FileFormat, string>>} */
const NAMES = Object.freeze({ flashdreams: 'path.json', nerfstudio: 'camera_path.json', tum: 'path.txt', numpy: 'poses.zip' });
/** Largest error of the path through the keyframes: small for files, larger for walks, which then need few keyframes. */
const FILE = Object.freeze({ distance: 0.1, degrees: 2 });
const WALK = Object.freeze({ distance: 0.12, degrees: 3 });

/**
 * Reads the walk since a chunk into the path. Returns a remark for the visitor.
 * @param {CameraPath} path
 * @param {string} token
 * @param {number} since
 * @param {Where} where
 * @param {number} fps
 */
export async function readWalk(path, token, since, where, fps) {
  const { name } = await upload(await walkedSince(token, since), fps);
  const read = await keysOf(name, where, WALK);
  path.replace(heightsOf(read.keys, where), { pace: 'times', closed: false, easing: 'none' });
  return `${read.seconds.toFixed(1)} s of walking are ${read.keys.length} key poses now, nowhere more than ${near(read)} off.`;
}

/**
 * Reads a shipped or uploaded path. Returns a remark for the visitor.
 * @param {CameraPath} path
 * @param {string} name
 * @param {Where} where
 */
export async function readNamed(path, name, where) {
  const read = await keysOf(name, where, FILE);
  path.replace(heightsOf(read.keys, where), { pace: 'times', closed: false, easing: 'none' });
  const moved = read.anchored ? ' It was made in other coordinates, so it begins at the entrance here.' : '';
  return `${read.poses} poses are ${read.keys.length} key poses now, nowhere more than ${near(read)} off.${moved}`;
}

/**
 * Reads the visitor's files; of a NumPy pair, the poses. Returns a remark for the visitor.
 * @param {CameraPath} path
 * @param {File[]} files
 * @param {Where} where
 * @param {number} fps
 */
export async function readFiles(path, files, where, fps) {
  const lens = files.find(({ name }) => /intrinsics.*\.npy$/i.test(name));
  const file = files.find((one) => one !== lens);
  if (!file) throw new Error('intrinsics.npy is only the lens: choose poses.npy too, or a zip of both.');
  const { name, notes } = await upload(file, fps);
  const said = [await readNamed(path, name, where), ...notes.map(sentence)].join(' ');
  return lens ? `${said} The world has a lens of its own, so that of ${lens.name} is left.` : said;
}

/**
 * Saves the path as a file.
 * @param {CameraPath} path
 * @param {import('./requests.js').FileFormat} format
 * @param {Where} where
 */
export async function saveFile(path, format, where) {
  saveAs(await filed(path.asked(where), format), NAMES[format]);
}

/**
 * Removes the heights where the world keeps the camera on its ground.
 * @param {Omit<import('./camera_path.js').Keyframe, 'id'>[]} keys
 * @param {Where} where
 */
function heightsOf(keys, { freeHeight }) {
  return freeHeight ? keys : keys.map((key) => ({ ...key, y: null }));
}

/** @param {{off: number, turned: number}} errors */
function near({ off, turned }) {
  return `${Math.max(1, Math.round(100 * off))} cm and ${turned.toFixed(1)}°`;
}
