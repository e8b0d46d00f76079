/** What is on the kiosk's screen beside the dream: one of attract, visit, farewell, trouble. */

const byId = (id) => document.getElementById(id);

export class Screens {
  /** Takes the kiosk's settings: title, colours, logo. */
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

  /** The one that is shown. */
  get now() {
    return document.body.dataset.kiosk;
  }

  show(name) {
    document.body.dataset.kiosk = name;
  }

  scene(title) {
    byId('scene').textContent = title;
  }

  /** Seconds left of a visit; `soon` makes it stand out. */
  left(seconds, soon) {
    byId('left').firstElementChild.textContent = Math.max(0, Math.ceil(seconds));
    byId('left').classList.toggle('soon', soon);
  }

  stillThere(asking) {
    byId('still-there').hidden = !asking;
  }

  /** The QR code of the visit's clip; null for none. */
  clip(address) {
    byId('clip').hidden = !address;
    if (address) byId('qr').src = address;
  }

  trouble(title, text = '') {
    byId('trouble-title').textContent = title;
    byId('trouble-text').textContent = text;
    this.show('trouble');
  }
}
