/** The live edge: how fast to play so that what is left to play when a chunk arrives is next to nothing. */

/** What should be left: the frame and a half that browsers stop with, and the server's reserve. */
const EDGE = Object.freeze({ slackFrames: 1.5, slackS: 0.01, deadZoneS: 0.02, gain: 2, slowest: 0.4, fastest: 1.5, giveUpChunks: 3 });
/** A machine that dreams slower than real time plays slower, instead of stopping at the end of every chunk. */
const PACE = Object.freeze({ memory: 0.7, nearlyReal: 0.93, pauseChunks: 5 });

export class LiveEdge {
  #lastArrival = 0;
  #meanPace = 1;

  /**
   * A chunk of `length` seconds at `fps` has arrived while `slack` seconds are left to play. Returns the `rate` to play
   * at, and whether so much is left that it is `late`: to be skipped.
   */
  arrived(length, slack, fps) {
    const pace = this.#pace(length);
    const error = slack - EDGE.slackS - EDGE.slackFrames / fps;
    let rate = error > EDGE.deadZoneS ? 1 : pace;
    if (pace > 0 && Math.abs(error) > EDGE.deadZoneS) rate += EDGE.gain * error;
    rate = pace > 0 ? Math.min(EDGE.fastest, Math.max(EDGE.slowest, rate)) : 1;
    return { rate, late: slack > EDGE.giveUpChunks * length };
  }

  /** How fast chunks come, as a share of real time, at most 1; 0 where they do not flow: after a rest. */
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
