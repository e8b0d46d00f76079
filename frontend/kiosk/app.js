/** The kiosk's page: settings, session, hands, and the loop of its day. */

import { exposeDebug } from '../lib/debug.js';
import { Controls } from '../input/controls.js';
import { drawKeys } from '../input/keycaps.js';
import { usablePlayers } from '../players/factory.js';
import { crispOver } from '../players/upscaler.js';
import { stayAwake } from '../lib/wake_lock.js';
import { Session } from '../net/session.js';
import { Kiosk } from './kiosk.js';
import { fillScreen, lockPage } from './lock.js';
import { Screens } from './screens.js';

const ASK_EVERY_MS = 1500;
const byId = (id) => document.getElementById(id);
const stage = byId('stage');
const screens = new Screens();
const crisp = crispOver(stage);
const pause = (ms) => new Promise((done) => { setTimeout(done, ms); });

const address = new URL('ws/play', location.href);
address.protocol = address.protocol === 'https:' ? 'wss:' : 'ws:';
address.search = location.search;
address.hash = '';

let kiosk = null;
let reloading = false;

const session = new Session(stage, address, {
  status: (kind, data) => kiosk?.status(kind, data),
  info: () => {},
  frame: (_, now) => {
    crisp?.show(session.picture);
    kiosk?.frame(now);
  },
  news: () => {},
  notice: () => {},
});
const light = drawKeys(byId('keys'), { hints: true });
const controls = new Controls(stage, { walk: byId('stick-walk'), look: byId('stick-look') }, {
  keys: (down, { pressedAt }) => {
    light(down);
    if (down.length > 0) kiosk?.touched();
    session.keys(down, pressedAt);
  },
  look: (yaw, pitch) => {
    kiosk?.touched();
    session.look(yaw, pitch);
  },
  command: () => {},
  lock: () => {},
  wake: (event) => !event.repeat && (kiosk?.touched() ?? false),
  press: () => kiosk?.touched(),
  found: () => {},
});

/** The page begins again once the server answers; until then it says that it waits. */
async function reload() {
  if (reloading) return;
  reloading = true;
  for (;;) {
    await pause(ASK_EVERY_MS);
    if (await well()) break;
  }
  location.reload();
}

async function well() {
  try {
    const answer = await fetch('healthz', { cache: 'no-store', signal: AbortSignal.timeout(ASK_EVERY_MS) });
    return answer.ok && (await answer.json()).status === 'ok';
  } catch {
    return false;
  }
}

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
  kiosk = new Kiosk(session, screens, settings, { free: (free) => controls.enable(free), holding: () => controls.held.length > 0, reload });
  session.usePlayers(await usablePlayers(new URLSearchParams(location.search).get('player')));
  session.begin({ scene: settings.attract[0]?.scene });
}

lockPage();
for (const type of ['keydown', 'pointerdown', 'touchstart']) {
  window.addEventListener(type, (event) => {
    if (!event.repeat) kiosk?.touched(); // a key still held from the last visit begins no new one
    fillScreen();
  }, { capture: true, passive: true });
}
window.addEventListener('error', reload);
window.addEventListener('unhandledrejection', reload);
document.addEventListener('visibilitychange', () => {
  stayAwake(!document.hidden);
  if (document.hidden) session.pause('hidden');
  else session.resume('hidden');
});
exposeDebug(() => ({ mode: screens.now, state: session.state, info: session.info, chunk: session.chunk, stats: session.stats, latencies: session.latencies, held: controls.held, ...(kiosk?.view ?? { visits: 0, step: -1 }) }), () => session.picture);
stayAwake(true);
begin();
