/**
 * Looks over the page's shoulder, from outside of its code: notes every message on the WebSocket and every frame that
 * the video element puts on screen, each with its time, and reads the pixels back to see what moved.
 */
(() => {
  const WIDTH = 128;
  const HEIGHT = 72;
  const REACH = 14; // farthest sideways shift looked for, in pixels of the small picture
  const probe = { sent: [], chunks: [], frames: [], presses: [], watching: true };
  window.__probe = probe;

  const NativeSocket = window.WebSocket;
  window.WebSocket = class extends NativeSocket {
    constructor(...args) {
      super(...args);
      this.addEventListener('message', ({ data }) => {
        const at = performance.now();
        if (typeof data === 'string') {
          const message = JSON.parse(data);
          if (message.type === 'chunk') probe.chunks.push({ ...message, at });
          if (message.type === 'ready') probe.ready = { ...message, at };
        } else if (probe.chunks.length) {
          const chunk = probe.chunks.at(-1);
          chunk.bytes ??= data.byteLength;
          chunk.arrived ??= at;
        }
      });
    }

    send(data) {
      if (typeof data === 'string') {
        const { type, seq, down } = JSON.parse(data);
        probe.sent.push({ type, seq, down, at: performance.now() });
      }
      super.send(data);
    }
  };

  window.addEventListener('keydown', (event) => {
    if (!event.repeat) probe.presses.push({ key: event.key, at: event.timeStamp });
  }, true);

  const canvas = document.createElement('canvas');
  canvas.width = WIDTH;
  canvas.height = HEIGHT;
  const context = canvas.getContext('2d', { willReadFrequently: true });
  let before = null;

  function grey(video) {
    context.drawImage(video, 0, 0, WIDTH, HEIGHT);
    const { data } = context.getImageData(0, 0, WIDTH, HEIGHT);
    const picture = new Float32Array(WIDTH * HEIGHT);
    for (let i = 0; i < picture.length; i += 1) picture[i] = 0.299 * data[4 * i] + 0.587 * data[4 * i + 1] + 0.114 * data[4 * i + 2];
    return picture;
  }

  const meanDifference = (a, b) => a.reduce((sum, value, i) => sum + Math.abs(value - b[i]), 0) / a.length;

  /** Return the picture's move to the right since `then`, in pixels of the small picture: the shift that fits best. */
  function sideways(then, now) {
    let best = 0;
    let least = Infinity;
    for (let shift = -REACH; shift <= REACH; shift += 1) {
      let sum = 0;
      for (let y = 4; y < HEIGHT - 4; y += 2) {
        for (let x = REACH; x < WIDTH - REACH; x += 1) sum += Math.abs(now[y * WIDTH + x] - then[y * WIDTH + x - shift]);
      }
      if (sum < least) [least, best] = [sum, shift];
    }
    return best;
  }

  function watch(video) {
    const seen = (now, meta) => {
      video.requestVideoFrameCallback(seen);
      const at = performance.now();
      const frame = { at, mediaTime: meta.mediaTime };
      if (probe.watching) {
        const picture = grey(video);
        frame.brightness = picture.reduce((sum, value) => sum + value, 0) / picture.length;
        if (before) {
          frame.change = meanDifference(before, picture);
          frame.shift = frame.change > 0.2 ? sideways(before, picture) : 0;
        }
        before = picture;
      }
      probe.frames.push(frame);
    };
    video.requestVideoFrameCallback(seen);
  }

  const find = () => {
    const video = document.querySelector('video');
    if (video) watch(video);
    else requestAnimationFrame(find);
  };
  document.addEventListener('DOMContentLoaded', find);
})();
