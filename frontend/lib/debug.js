// @ts-check
/** `window.flashdreams`: a read-only view of the page for tests, benchmarks and debugging. */

/**
 * @param {() => Record<string, unknown>} view returns the page's live values
 * @param {() => HTMLVideoElement | HTMLCanvasElement | null} frameSource returns the element that shows the frame
 */
export function exposeDebug(view, frameSource) {
  const canvas = document.createElement('canvas');
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d', { willReadFrequently: true }));

  const api = {
    /** Returns the frame on screen as `{width, height, rgba}`, the pixels in base64: a test reads a string fastest. */
    readback(width = 96, height = 54) {
      canvas.width = width;
      canvas.height = height;
      const source = frameSource();
      if (source) context.drawImage(source, 0, 0, width, height);
      const { data } = context.getImageData(0, 0, width, height);
      let text = '';
      for (let i = 0; i < data.length; i += 8192) text += String.fromCharCode(...data.subarray(i, i + 8192));
      return { width, height, rgba: btoa(text) };
    },
  };
  for (const name of Object.keys(view())) {
    Object.defineProperty(api, name, { enumerable: true, get: () => structuredClone(view()[name] ?? null) });
  }
  Object.defineProperty(window, 'flashdreams', { value: Object.freeze(api) });
}
