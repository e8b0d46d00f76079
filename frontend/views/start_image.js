// @ts-check
/** The start image, in worlds that take one: chosen, uploaded, named in `start`. */

import { answered } from '../lib/downloads.js';

export class StartImage {
  /**
   * @param {HTMLElement} button
   * @param {HTMLInputElement} file
   * @param {{chosen: (name: string) => void, attempt: (work: () => unknown) => void}} on `chosen` gets the server's name of the image
   */
  constructor(button, file, { chosen, attempt }) {
    button.addEventListener('click', () => file.click());
    file.addEventListener('change', () => {
      const image = file.files?.[0];
      if (image) attempt(async () => chosen(await upload(image)));
      file.value = '';
    });
  }
}

/** @param {File} image */
async function upload(image) {
  const headers = { 'content-type': image.type || 'application/octet-stream' };
  return (await (await answered(fetch('api/images', { method: 'POST', body: image, headers }))).json()).name;
}
