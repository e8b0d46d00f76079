/** A visitor's own picture to begin with, where the world takes one: chosen, handed to the server, called by its name. */

import { answered } from '../lib/downloads.js';

export class StartPicture {
  /** `on.chosen(name)`: the server has the picture and calls it that; `attempt(work)` runs what may fail with a sentence. */
  constructor(button, file, { chosen, attempt }) {
    button.addEventListener('click', () => file.click());
    file.addEventListener('change', () => {
      const [picture] = file.files;
      file.value = '';
      if (picture) attempt(async () => chosen(await handOver(picture)));
    });
  }
}

async function handOver(picture) {
  const headers = { 'content-type': picture.type || 'application/octet-stream' };
  return (await (await answered(fetch('api/images', { method: 'POST', body: picture, headers }))).json()).name;
}
