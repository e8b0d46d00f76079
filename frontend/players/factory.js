// @ts-check
/** The players, and which of them this browser can use. */

import { JpegPlayer } from './jpeg.js';
import { MsePlayer } from './mse.js';
import { WebCodecsPlayer } from './webcodecs.js';

/** @typedef {import('../net/messages.d.ts').ServerMessages} ServerMessages */
/** @typedef {ServerMessages['chunk'] & {arrived: number, bytes: number}} PlayedChunk A chunk's message, with the time it was received and its size. */
/** @typedef {Pick<ServerMessages['ready'], 'mime' | 'codec' | 'description' | 'width' | 'height' | 'fps'>} StreamFormat */
/**
 * `frame(chunk, now)`: a frame is on screen. `failed(message)`: the player cannot go on without a new stream.
 * @typedef {{frame: (chunk: PlayedChunk, now: number) => void, failed: (message: string) => void}} PlayerHandlers
 */
/**
 * Methods of every player. `open` starts a stream, the last frame stays until the new one is there; `init` takes its init
 * segment; `chunk` takes a chunk, with `skip` it is shown at once; `goLive` jumps to the newest frame; `holdFrame` keeps
 * the present frame while the stream changes; `close` stops. `frameSource` is the element to read the frame from.
 * @typedef {object} Player
 * @property {(format: StreamFormat) => void} open
 * @property {(bytes: ArrayBuffer) => void} init
 * @property {(bytes: ArrayBuffer, chunk: PlayedChunk, skip: boolean) => void} chunk
 * @property {() => void} goLive
 * @property {() => void} holdFrame
 * @property {() => void} close
 * @property {HTMLVideoElement | HTMLCanvasElement} frameSource
 * @property {Record<string, number>} stats
 */
/**
 * A kind of player: `stream` for the server, `label` for the visitor; `takes` returns true if the exact stream can be
 * played, `probe` if a usual one can.
 * @typedef {object} PlayerKind
 * @property {string} label
 * @property {import('../net/messages.d.ts').ClientMessages['start']['player']} stream
 * @property {(stage: HTMLElement, on: PlayerHandlers) => Player} make
 * @property {(format: StreamFormat) => boolean} takes
 * @property {(format: {mime: string, codec: string}) => boolean | Promise<boolean>} probe
 */
/** @typedef {'mse' | 'managed' | 'webcodecs' | 'jpeg'} PlayerName */

/** A baseline H.264 stream, probed before the server has named the exact one. */
const USUAL = Object.freeze({ mime: 'video/mp4; codecs="avc1.42E01E"', codec: 'avc1.42E01E' });

/**
 * Kinds of players, the best first. iPhones have only ManagedMediaSource; pages on plain http from another machine have
 * no WebCodecs; JPEG frames work everywhere and take the most bandwidth.
 * @type {Readonly<Record<PlayerName, PlayerKind>>}
 */
export const PLAYERS = Object.freeze({
  mse: {
    label: 'Media Source', stream: 'mse',
    make: (stage, on) => new MsePlayer(stage, on, window.MediaSource),
    takes: ({ mime }) => MsePlayer.canPlay(window.MediaSource, mime),
    probe: ({ mime }) => MsePlayer.canPlay(window.MediaSource, mime),
  },
  managed: {
    label: 'Managed Media Source', stream: 'mse',
    make: (stage, on) => new MsePlayer(stage, on, /** @type {typeof MediaSource} */ (managedSource())),
    takes: ({ mime }) => MsePlayer.canPlay(managedSource(), mime),
    probe: ({ mime }) => MsePlayer.canPlay(managedSource(), mime),
  },
  webcodecs: {
    label: 'WebCodecs', stream: 'webcodecs',
    make: (stage, on) => new WebCodecsPlayer(stage, on),
    takes: ({ codec, description }) => Boolean(window.VideoDecoder && codec && description),
    probe: WebCodecsPlayer.canPlay,
  },
  jpeg: {
    label: 'JPEG frames', stream: 'jpeg',
    make: (stage, on) => new JpegPlayer(stage, on),
    takes: ({ mime }) => mime === 'image/jpeg',
    probe: JpegPlayer.canPlay,
  },
});

/** Returns the browser's ManagedMediaSource, or undefined. */
function managedSource() {
  return /** @type {{ManagedMediaSource?: typeof MediaSource}} */ (/** @type {unknown} */ (window)).ManagedMediaSource;
}

/**
 * Returns the names of the players that work here, the best first; `asked` (of `?player=`) leaves only that one.
 * @param {string | null} asked
 */
export async function usablePlayers(asked = null) {
  const all = /** @type {PlayerName[]} */ (Object.keys(PLAYERS));
  const names = all.filter((name) => asked === null || !(asked in PLAYERS) || name === asked);
  const usable = await Promise.all(names.map((name) => PLAYERS[name].probe(USUAL)));
  return names.filter((_, i) => usable[i]);
}
