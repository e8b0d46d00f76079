/** Which players there are, and which of them this browser can use. All offer the methods of `MsePlayer`. */

import { JpegPlayer } from './jpeg.js';
import { MsePlayer } from './mse.js';
import { WebCodecsPlayer } from './webcodecs.js';

/** A baseline H.264 stream, asked for before the server has named the exact one. */
const LIKELY = Object.freeze({ mime: 'video/mp4; codecs="avc1.42E01E"', codec: 'avc1.42E01E' });

/**
 * By preference. `stream` is what the server is asked for, `label` what the visitor reads, `takes` whether the exact stream
 * can be played. iPhones have only the managed media source; pages on plain http from another machine have no WebCodecs;
 * pictures work everywhere and cost the most.
 */
export const PLAYERS = Object.freeze({
  mse: {
    label: 'Media Source', stream: 'mse',
    make: (stage, on) => new MsePlayer(stage, on, window.MediaSource),
    takes: ({ mime }) => MsePlayer.canPlay(window.MediaSource, mime),
  },
  managed: {
    label: 'Managed Media Source', stream: 'mse',
    make: (stage, on) => new MsePlayer(stage, on, window.ManagedMediaSource),
    takes: ({ mime }) => MsePlayer.canPlay(window.ManagedMediaSource, mime),
  },
  webcodecs: {
    label: 'WebCodecs', stream: 'webcodecs',
    make: (stage, on) => new WebCodecsPlayer(stage, on),
    takes: ({ codec, description }) => Boolean(window.VideoDecoder && codec && description),
    probe: WebCodecsPlayer.canPlay,
  },
  jpeg: {
    label: 'JPEG pictures', stream: 'jpeg',
    make: (stage, on) => new JpegPlayer(stage, on),
    takes: ({ mime }) => mime === 'image/jpeg',
    probe: JpegPlayer.canPlay,
  },
});

/** Names of the players that are worth a try here, the best first; `asked` (of `?player=`) leaves only that one. */
export async function usablePlayers(asked = null) {
  const names = Object.keys(PLAYERS).filter((name) => !PLAYERS[asked] || name === asked);
  const can = await Promise.all(names.map((name) => (PLAYERS[name].probe ?? PLAYERS[name].takes)(LIKELY)));
  return names.filter((_, i) => can[i]);
}
