/** The page: who talks to whom. Modes: `welcome` (before the first step), `playing`, `menu` (paused). */

import { Controls } from './controls.js';
import { exposeDebug } from './debug.js';
import { Hud } from './hud.js';
import { drawKeys, relabel } from './keycaps.js';
import { HELP, TOUCH_HELP, labelOf, learnLayout } from './keymap.js';
import { Overlay } from './overlay.js';
import { ScenePicker, drawSeed, parseSeed, wantedFromAddress, writeAddress } from './scenes.js';
import { Session } from './session.js';
import { attachStick } from './stick.js';

const byId = (id) => document.getElementById(id);
const stage = byId('stage');
const help = byId('help');
const seedField = byId('seed');
const body = document.body;
const IDLE_MS = 2600;
/** A short loss of the connection: keys stay held and the mouse stays taken, so that the walk goes on by itself. */
const PASSING = new Set([null, 'reconnecting', 'starting']);
const PATIENT_ATTEMPTS = 3;
const SAME_ESC_MS = 150; // some browsers also report the Esc key that gave the mouse back

let mode = 'welcome';
let leftWhilePlaying = false;
let idleTimer = 0;
let lockLostAt = -Infinity;

const socketAddress = new URL('ws/play', location.href);
socketAddress.protocol = socketAddress.protocol === 'https:' ? 'wss:' : 'ws:';
socketAddress.hash = '';

const hud = new Hud(byId('hud'), () => ({ latency: session.stats.latency, chunk: session.chunk, info: session.info, state: session.state }));
const overlay = new Overlay(byId('overlay'), (action) => overlayActions[action]());
const scenes = new ScenePicker(byId('scenes'), pickScene);
const session = new Session(stage, socketAddress, {
  status: showStatus,
  info: showInfo,
  frame: (_, now) => hud.frame(now),
  notice: (text) => overlay.toast(text),
});
const controls = new Controls(stage, {
  keys: heldChanged,
  look: (yaw, pitch) => session.look(yaw, pitch),
  command: runCommand,
  lock: lockChanged,
  wake: () => mode !== 'playing' && canPlay() && play({ lock: false }),
});
const lightMenu = drawKeys(byId('keys'), { hints: true });
const lightEcho = drawKeys(byId('echo'));

const overlayActions = {
  retry: () => session.retry(),
  fresh: () => { setMode('welcome'); session.begin(wanted()); },
  defaults: () => { history.replaceState(null, '', location.pathname); session.begin({}); },
  reload: () => location.reload(),
};

const commands = {
  back: () => performance.now() - lockLostAt > SAME_ESC_MS && commands.menu(),
  menu: () => (mode === 'playing' ? openMenu() : mode === 'menu' && canPlay() && play({ lock: false })),
  pause: () => commands.menu(),
  reset: () => session.info && startOver({}),
  dice: () => session.info && startOver({ seed: drawSeed() }),
  hud: toggleHud,
  fullscreen: toggleFullscreen,
  help: toggleHelp,
};

function wanted() {
  const { world, scene, seed } = session.info ?? {};
  return session.info ? { world, scene, seed } : wantedFromAddress();
}

/** Keys and clicks may go to the world: there is a picture and no panel in front of it. */
function canPlay() {
  return overlay.kind === null && !help.open && session.info !== null;
}

function setMode(next) {
  mode = next;
  body.dataset.mode = next;
  byId('menu').inert = next === 'playing';
  updateControls();
}

function updateControls() {
  controls.enable(mode === 'playing' && PASSING.has(overlay.kind) && !help.open && session.info !== null);
  stayAwake();
}

function play({ lock }) {
  if (document.activeElement instanceof HTMLElement) document.activeElement.blur();
  setMode('playing');
  session.resume('menu');
  if (lock) controls.lock();
  return true;
}

function openMenu() {
  setMode('menu');
  controls.unlock();
  session.pause('menu');
  byId('play').focus({ preventScroll: true, focusVisible: false });
}

function heldChanged(down, { pressedAt }) {
  lightMenu(down); // at once: the answer of the model comes later
  lightEcho(down);
  session.keys(down, pressedAt);
  if (pressedAt !== null) wakeBar(false);
}

function lockChanged(locked) {
  body.classList.toggle('locked', locked);
  if (!locked) lockLostAt = performance.now();
  if (!locked && mode === 'playing' && document.visibilityState === 'visible' && document.hasFocus() && !help.open) openMenu();
}

function pickScene(name) {
  if (mode === 'welcome') {
    startOver({ scene: name });
  } else {
    session.scene(name);
    if (mode === 'menu') play({ lock: false });
  }
}

function startOver(change) {
  session.reset(change);
  if (mode === 'menu') play({ lock: false });
}

function runCommand(name) {
  if (help.open && name !== 'help') return;
  if (name.startsWith('scene:')) {
    const scene = scenes.names[Number(name.slice(6))];
    if (scene && canPlay()) pickScene(scene);
    return;
  }
  commands[name]?.();
}

function toggleHud() {
  hud.toggle();
  document.querySelector('[data-command="hud"]').setAttribute('aria-pressed', String(hud.visible));
}

async function toggleFullscreen() {
  try {
    if (document.fullscreenElement) await document.exitFullscreen();
    else await document.documentElement.requestFullscreen({ navigationUI: 'hide' });
  } catch {
    overlay.toast('This browser does not allow full screen here.');
  }
}

function toggleHelp() {
  if (help.open) {
    help.close();
    return;
  }
  const { title, parameters, width, height, fps, mime } = session.info ?? {};
  byId('help-about').textContent = title ? `${[title, size(parameters), `${width} × ${height}, ${fps} fps`, mime].filter(Boolean).join(' · ')}` : '';
  help.showModal();
  controls.unlock();
  updateControls();
}

function showStatus(kind, data) {
  overlay.show(kind, data);
  updateControls();
  if (!PASSING.has(kind) || data?.attempt > PATIENT_ATTEMPTS) controls.unlock();
}

function showInfo(info) {
  if (info.scenes) scenes.fill(info.scenes);
  scenes.mark(info.scene);
  byId('where-scene').textContent = scenes.title(info.scene);
  byId('where-model').textContent = size(info.parameters);
  document.title = `${scenes.title(info.scene)} · flashdreams`;
  if (document.activeElement !== seedField) seedField.value = info.seed;
  writeAddress(info);
}

/** `11234567` -> `11 M parameters`. */
function size(parameters) {
  if (!parameters) return '';
  const [value, unit] = parameters >= 1e9 ? [parameters / 1e9, 'billion'] : [parameters / 1e6, 'million'];
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${unit} parameters`;
}

/** The command bar shows itself when the mouse moves, and leaves the picture alone after a while. */
function wakeBar(awake) {
  clearTimeout(idleTimer);
  body.classList.toggle('resting', !awake);
  if (awake) idleTimer = setTimeout(() => wakeBar(false), IDLE_MS);
}

let wakeLock = null;
async function stayAwake() {
  const wish = mode === 'playing' && document.visibilityState === 'visible';
  try {
    if (wish && !wakeLock) {
      wakeLock = await navigator.wakeLock?.request('screen');
      wakeLock?.addEventListener('release', () => { wakeLock = null; });
    } else if (!wish && wakeLock) {
      await wakeLock.release();
    }
  } catch {
    wakeLock = null; // not allowed on battery saver or plain http; the screen may then sleep
  }
}

function visibilityChanged() {
  if (document.visibilityState === 'hidden') {
    leftWhilePlaying = mode === 'playing';
    session.pause('hidden');
  } else {
    if (leftWhilePlaying && mode === 'menu') play({ lock: false });
    session.resume('hidden');
    begun || begin();
  }
  stayAwake();
}

function wireMenu() {
  stage.addEventListener('click', (event) => {
    if (!canPlay() || controls.locked || controls.dragged) return;
    play({ lock: event.detail > 0 });
  });
  byId('play').addEventListener('click', () => canPlay() && play({ lock: true }));
  byId('dice').addEventListener('click', () => startOver({ seed: drawSeed() }));
  byId('menu-help').addEventListener('click', toggleHelp);
  byId('seed-form').addEventListener('submit', (event) => {
    event.preventDefault();
    const seed = parseSeed(seedField.value);
    byId('seed-note').textContent = seed === null ? 'A seed is a whole number from 0 to 4294967295.' : '';
    seedField.toggleAttribute('aria-invalid', seed === null);
    if (seed === null) return;
    seedField.blur();
    startOver({ seed });
  });
  seedField.addEventListener('keydown', (event) => event.key === 'Escape' && seedField.blur());
  for (const button of document.querySelectorAll('[data-command]')) {
    button.addEventListener('click', () => {
      button.blur(); // else the next space bar presses it again
      runCommand(button.dataset.command);
    });
  }
  byId('help-close').addEventListener('click', () => help.close());
  help.addEventListener('close', updateControls);
  help.addEventListener('click', (event) => event.target === help && help.close());
  attachStick(byId('stick'), (names) => controls.enabled && controls.setStick(names));
  document.addEventListener('pointermove', (event) => event.pointerType !== 'touch' && !controls.locked && wakeBar(true));
  document.addEventListener('visibilitychange', visibilityChanged);
  document.addEventListener('contextmenu', (event) => event.target.closest('#stage') && event.preventDefault());
}

function fillHelp() {
  const list = byId('help-list');
  const lines = matchMedia('(pointer: coarse)').matches ? [...TOUCH_HELP, ...HELP] : HELP;
  for (const [keys, meaning] of lines) {
    const term = document.createElement('dt');
    for (const key of keys) {
      const cap = Object.assign(document.createElement('kbd'), { textContent: labelOf(key) });
      if (key.startsWith('Key')) cap.dataset.code = key;
      term.append(cap);
    }
    list.append(term, Object.assign(document.createElement('dd'), { textContent: meaning }));
  }
}

let begun = false;
function begin() {
  if (document.visibilityState === 'hidden') return; // browsers open no media in a hidden tab; the server's places are few
  begun = true;
  session.beginAgain(wantedFromAddress());
}

exposeDebug(() => ({
  mode, status: overlay.kind, state: session.state, info: session.info, chunk: session.chunk, held: controls.held,
  locked: controls.locked, stats: { ...session.stats, fps: hud.fps }, latencies: session.latencies,
}), () => session.picture);
wireMenu();
fillHelp();
hud.restore();
document.querySelector('[data-command="hud"]').setAttribute('aria-pressed', String(hud.visible));
learnLayout().then(relabel);
setMode('welcome');
begin();
