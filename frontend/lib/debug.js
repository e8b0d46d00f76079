/** `window.flashdreams`: a read-only view of the page for tests, benchmarks and the curious. */

/** `view()` gives the page's live values; `picture()` what is on screen, to be drawn. */
export function exposeDebug(view, picture) {
  const canvas = document.createElement('canvas');
  const context = canvas.getContext('2d', { willReadFrequently: true });

  const api = {
    /** What is on screen now as `{width, height, rgba}`, with the pixels in base64 so that they cross to a test quickly. */
    readback(width = 96, height = 54) {
      canvas.width = width;
      canvas.height = height;
      context.drawImage(picture(), 0, 0, width, height);
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
