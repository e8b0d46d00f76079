// @ts-check
/** The kiosk's screens over the video: attract, visit, farewell, trouble. */

import { byId } from '../lib/dom.js';

export class Screens {
  /**
   * Applies title, colours and logo.
   * @param {import('./kiosk.js').KioskSettings} settings
   */
  dress({ title, subtitle, colours, logo, clip_seconds: seconds }) {
    byId('title').textContent = title;
    byId('subtitle').textContent = subtitle;
    byId('clip-seconds').textContent = Math.round(seconds);
    document.title = title;
    document.body.style.setProperty('--accent', colours.accent);
    document.body.style.setProperty('--paper', colours.background);
    document.body.style.setProperty('--letters', colours.text);
    byId('logo').hidden = !logo;
    if (logo) byId('logo').src = logo;
  }

  /** Name of the screen that is shown. */
  get now() {
    return document.body.dataset.kiosk ?? '';
  }

  /** @param {string} name */
  show(name) {
    document.body.dataset.kiosk = name;
  }

  /** @param {string} title */
  scene(title) {
    byId('scene').textContent = title;
  }

  /**
   * Shows the seconds left of a visit.
   * @param {number} seconds
   * @param {boolean} soon makes it stand out
   */
  left(seconds, soon) {
    byId('left').firstElementChild.textContent = Math.max(0, Math.ceil(seconds));
    byId('left').classList.toggle('soon', soon);
  }

  /** @param {boolean} asking */
  stillThere(asking) {
    byId('still-there').hidden = !asking;
  }

  /**
   * Shows the QR code of the visit's clip, or none.
   * @param {string | null} address
   */
  clip(address) {
    byId('clip').hidden = !address;
    if (address) byId('qr').src = address;
  }

  /**
   * @param {string} title
   * @param {string} text
   */
  trouble(title, text = '') {
    byId('trouble-title').textContent = title;
    byId('trouble-text').textContent = text;
    this.show('trouble');
  }
}
