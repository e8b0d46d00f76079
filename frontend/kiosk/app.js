// @ts-check
/** The kiosk's page: connects settings, session, controls and the kiosk's states. */

import { exposeDebug } from '../lib/debug.js';
import { byId } from '../lib/dom.js';
import { Controls } from '../input/controls.js';
import { drawKeys } from '../input/keycaps.js';
import { declare } from '../input/keymap.js';
import { usablePlayers } from '../players/factory.js';
import { createUpscaler } from '../players/upscaler.js';
import { setWakeLock } from '../lib/wake_lock.js';
import { socketAddress } from '../net/connection.js';
import { Session } from '../net/session.js';
import { Kiosk } from './kiosk.js';
import { fillScreen, lockPage } from './lock.js';
import { Screens } from './screens.js';

const ASK_EVERY_MS = 1500;
const stage = byId('stage');
const screens = new Screens();
const upscaler = createUpscaler(stage);
const pause = (/** @type {number} */ ms) => new Promise((done) => { setTimeout(done, ms); });

/** @type {Kiosk | null} */
let kiosk = null;
let reloading = false;

const session = new Session(stage, socketAddress(location.search), {
  status: (kind, data) => kiosk?.status(kind, data),
  info: (info) => declare(info),
  frame: (_, now) => {
    const source = session.frameSource;
    if (source) upscaler?.show(source);
    kiosk?.frame(now);
  },
  serverNotice: () => {},
  toast: () => {},
});
const light = drawKeys(byId('keys'), { hints: true });
const controls = new Controls(stage, { walk: byId('stick-walk'), look: byId('stick-look') }, {
  keys: (down, { pressedAt }) => {
    light(down);
    if (down.length > 0) kiosk?.touched();
    session.inputs.keys(down, pressedAt);
  },
  look: (yaw, pitch, scroll) => {
    kiosk?.touched();
    session.inputs.look(yaw, pitch, scroll);
  },
  action: (name, held, at) => {
    if (held) kiosk?.touched();
    session.inputs.action(name, held, at);
  },
  command: () => {},
  lock: () => {},
  wake: (event) => !event.repeat && (kiosk?.touched() ?? false),
  press: () => kiosk?.touched(),
  found: () => {},
});

/** Loads the page again once the server answers. */
async function reload() {
  if (reloading) return;
  reloading = true;
  for (;;) {
    await pause(ASK_EVERY_MS);
    if (await serverIsWell()) break;
  }
  location.reload();
}

async function serverIsWell() {
  try {
    const answer = await fetch('healthz', { cache: 'no-store', signal: AbortSignal.timeout(ASK_EVERY_MS) });
    return answer.ok && (await answer.json()).status === 'ok';
  } catch {
    return false;
  }
}

/** @returns {Promise<import('./kiosk.js').KioskSettings>} */
async function readSettings() {
  for (;;) {
    try {
      const answer = await fetch('api/kiosk', { cache: 'no-store' });
      if (answer.ok) return await answer.json();
    } catch {
      // the server is not there yet
    }
    await pause(ASK_EVERY_MS);
  }
}

async function begin() {
  screens.trouble('One moment');
  const settings = await readSettings();
  screens.dress(settings);
  kiosk = new Kiosk(session, screens, settings, { enable: (enabled) => controls.enable(enabled), holding: () => controls.held.length > 0, reload });
  session.usePlayers(await usablePlayers(new URLSearchParams(location.search).get('player')));
  session.begin({ scene: settings.attract[0]?.scene });
}

lockPage();
for (const type of ['keydown', 'pointerdown', 'touchstart']) {
  window.addEventListener(type, (event) => {
    if (!(event instanceof KeyboardEvent && event.repeat)) kiosk?.touched(); // a key still held from the last visit starts no new one
    fillScreen();
  }, { capture: true, passive: true });
}
window.addEventListener('error', reload);
window.addEventListener('unhandledrejection', reload);
document.addEventListener('visibilitychange', () => {
  setWakeLock(!document.hidden);
  if (document.hidden) session.pause('hidden');
  else session.resume('hidden');
});
exposeDebug(() => ({ mode: screens.now, state: session.state, info: session.info, chunk: session.chunk, stats: session.stats, latencies: session.latencies, held: controls.held, ...(kiosk?.view ?? { visits: 0, step: -1 }) }), () => session.frameSource);
setWakeLock(true);
begin();
