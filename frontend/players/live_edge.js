// @ts-check
/** Live-edge control: the playback rate that keeps the buffer next to empty when a chunk arrives. */

/** Target of the buffer: the frame and a half that browsers stop with, and the server's reserve. */
const EDGE = Object.freeze({ slackFrames: 1.5, slackS: 0.01, deadZoneS: 0.02, gain: 2, slowest: 0.4, fastest: 1.5, giveUpChunks: 3 });
/** A model slower than real time is played slower, instead of stopping after every chunk. */
const PACE = Object.freeze({ memory: 0.7, nearlyReal: 0.93, pauseChunks: 5 });

export class LiveEdge {
  #lastArrival = 0;
  #meanPace = 1;

  /**
   * Returns the playback `rate` from an arriving chunk on, and `late` where the buffer is so long that it is to be skipped.
   * @param {number} length seconds of the chunk
   * @param {number} slack seconds left to play
   * @param {number} fps
   */
  arrived(length, slack, fps) {
    const pace = this.#pace(length);
    const error = slack - EDGE.slackS - EDGE.slackFrames / fps;
    let rate = error > EDGE.deadZoneS ? 1 : pace;
    if (pace > 0 && Math.abs(error) > EDGE.deadZoneS) rate += EDGE.gain * error;
    rate = pace > 0 ? Math.min(EDGE.fastest, Math.max(EDGE.slowest, rate)) : 1;
    return { rate, late: slack > EDGE.giveUpChunks * length };
  }

  /**
   * Returns the rate at which chunks arrive, as a share of real time, at most 1; 0 after a pause.
   * @param {number} length
   */
  #pace(length) {
    const now = performance.now();
    const interval = (now - this.#lastArrival) / 1000;
    this.#lastArrival = now;
    if (interval > PACE.pauseChunks * length) {
      this.#meanPace = 1;
      return 0;
    }
    const pace = Math.min(1.5, length / interval);
    this.#meanPace = PACE.memory * this.#meanPace + (1 - PACE.memory) * pace;
    return this.#meanPace > PACE.nearlyReal ? 1 : this.#meanPace;
  }
}
