/** The page: who talks to whom. Modes: `welcome` (before the first step), `playing`, `menu` (paused). */

import { exposeDebug } from './lib/debug.js';
import { Controls } from './input/controls.js';
import { moveFocus, pressFocused } from './input/focus.js';
import { drawKeys, relabel } from './input/keycaps.js';
import { codeOf, labelOf, learnLayout } from './input/keymap.js';
import { Keeping } from './lib/downloads.js';
import { News } from './views/notices.js';
import { PLAYERS, usablePlayers } from './players/factory.js';
import { crispOver } from './players/upscaler.js';
import { stayAwake } from './lib/wake_lock.js';
import { Session } from './net/session.js';
import { Editor } from './editor/editor.js';
import { nameKeys, wakeBar } from './views/bar.js';
import { Chips } from './views/badges.js';
import { Film } from './views/filmstrip.js';
import { Help } from './views/help.js';
import { Hud } from './views/hud.js';
import { CopyBox, KeepPanel } from './views/downloads_panel.js';
import { Overlay } from './views/overlay.js';
import { StartPicture } from './views/start_image.js';
import { Say } from './views/prompt.js';
import { ScenePicker, drawSeed, wantedFromAddress, writeAddress } from './views/scenes.js';
import { SeedForm } from './views/seed.js';
import { aboutWorld, modelSize } from './lib/format.js';

const byId = (id) => document.getElementById(id);
const stage = byId('stage');
const body = document.body;
/** A short loss of the connection: keys stay held and the mouse stays taken, so that the walk goes on by itself. */
const PASSING = new Set([null, 'reconnecting', 'starting']);
const PATIENT_ATTEMPTS = 3;
const SAME_ESC_MS = 150; // some browsers also report the Esc key that gave the mouse back

let mode = 'welcome';
let leftWhilePlaying = false;
let begun = false;
let lockLostAt = -Infinity;
let history = null;

const socketAddress = new URL('ws/play', location.href);
socketAddress.protocol = socketAddress.protocol === 'https:' ? 'wss:' : 'ws:';
socketAddress.search = socketAddress.hash = '';

const chips = new Chips(byId('chips'));
const overlay = new Overlay(byId('overlay'), (action) => overlayActions[action]());
const toast = (text) => overlay.toast(text);
const crisp = crispOver(stage);
const news = new News(chips, toast);
const scenes = new ScenePicker(byId('scenes'), pickScene);
const seedForm = new SeedForm(byId('seed-form'), (seed) => startOver({ seed }));
const session = new Session(stage, socketAddress, { status: showStatus, info: showInfo, frame: (chunk, now) => { crisp?.show(session.picture); hud.frame(now); editor.shown(chunk); }, arrived: (chunk) => editor.arrived(chunk), refused: (seq) => editor.refused(seq), news: showNews, notice: toast });
const hud = new Hud(byId('hud'), () => ({
  stats: session.stats, latencies: session.latencies, timeline: session.timeline, chunk: session.chunk, info: session.info, state: session.state,
  player: PLAYERS[session.playerName]?.label, history,
}));
const keeping = new Keeping(() => session.info, () => session.dreamedSeconds);
const help = new Help(byId('help'), updateControls);
const keepPanel = new KeepPanel(byId('keep'), { run: runCommand, open: openSaved, onClose: updateControls });
const copyBox = new CopyBox(byId('copy'), { onClose: updateControls, said: toast });
const say = new Say(byId('say'), { say: (text) => session.say(text), onClose: updateControls });
const film = new Film(byId('film'), byId('preview'), { rewind: goBackTo, close: closeFilm });
const editor = new Editor(byId('steer'), stage, session, { toast, attempt, closed: updateControls, preview: showPreview, previewed: () => !byId('preview').hidden, saveVideo: (seconds) => attempt(() => keeping.video(seconds), 'The video is saved.') });
const controls = new Controls(stage, { walk: byId('stick-walk'), look: byId('stick-look') }, {
  keys: heldChanged,
  look: (yaw, pitch) => { if (editor.doing === 'dream') editor.stop(); session.look(yaw, pitch); news.touched(); editor.touched(session.stats.seq); },
  command: runCommand,
  lock: lockChanged,
  wake: () => mode !== 'playing' && canPlay() && play({ lock: false }),
  press: gamepadPressed,
  found: () => toast('A gamepad is connected: its sticks walk and look.'),
});
const lightMenu = drawKeys(byId('keys'), { hints: true });
const lightEcho = drawKeys(byId('echo'));

const overlayActions = {
  retry: () => session.retry(),
  fresh: () => { setMode('welcome'); session.begin(wanted()); },
  defaults: () => { location.href = location.pathname; },
  reload: () => location.reload(),
};

const commands = {
  back: () => performance.now() - lockLostAt > SAME_ESC_MS && (film.open ? closeFilm() : editor.open && mode === 'playing' ? editor.back() : commands.menu()),
  menu: () => (mode === 'playing' ? openMenu() : mode === 'menu' && canPlay() && play({ lock: false })),
  reset: () => mine() && startOver({}),
  dice: () => mine() && startOver({ seed: drawSeed() }),
  film: () => (film.open ? closeFilm() : openFilm()),
  steer: () => (editor.open ? editor.close() : openEditor()),
  pose: () => editor.open && editor.here(),
  preview: () => editor.open && editor.preview(),
  take: () => editor.open && editor.dream(),
  say: () => mine() && session.info.controls.includes('text') && openSay(),
  hud: () => hud.next(),
  report: () => openDialog(() => copyBox.show('Report', hud.report())),
  keep: () => session.info && openDialog(() => keepPanel.toggle({ recording: keeping.recorded !== null, own: mine() })),
  help: () => openDialog(() => help.toggle(aboutWorld(session.info), (control) => session.info?.controls.includes(control) ?? false)),
  fullscreen: toggleFullscreen,
  record: toggleRecording,
  clip: () => attempt(() => keeping.clip(), 'The last 30 seconds are saved.'),
  still: () => attempt(() => keeping.still(), 'The picture is saved.'),
  trajectory: () => attempt(() => keeping.trajectory(), 'The camera path is saved.'),
  dream: () => attempt(() => keeping.dream(), 'The dream is saved. “Open a saved dream” dreams it again.'),
  replay: () => attempt(async () => showLink('Link that dreams it again', await keeping.replayLink())),
  watch: () => attempt(async () => showLink('Link to watch', keeping.watchLink)),
};

/** What to ask for when a dream begins anew. */
function wanted() {
  const { world, scene, seed } = session.info ?? {};
  return session.info && !session.info.spectator ? { world, scene, seed } : wantedFromAddress();
}

/** Whether there is a dream and it is this visitor's own. */
function mine() {
  return session.info !== null && !session.info.spectator;
}

function dialogOpen() {
  return help.open || keepPanel.open || copyBox.open;
}

/** Keys and clicks may go to the world: there is a picture and no panel in front of it. */
function canPlay() {
  return overlay.kind === null && !dialogOpen() && !film.open && mine();
}

function setMode(next) {
  mode = next;
  body.dataset.mode = next;
  byId('menu').inert = next === 'playing';
  updateControls();
}

function updateControls() {
  const playable = mode === 'playing' && PASSING.has(overlay.kind) && !dialogOpen() && !film.open && !say.open && mine();
  if (controls.enabled !== playable) controls.enable(playable);
  stayAwake(mode === 'playing' && document.visibilityState === 'visible');
}

function play({ lock }) {
  if (document.activeElement instanceof HTMLElement) document.activeElement.blur();
  setMode('playing');
  session.resume('menu');
  if (lock && !editor.open) controls.lock();
  return true;
}

function openMenu() {
  if (!mine()) return;
  closeFilm();
  editor.close();
  setMode('menu');
  controls.unlock();
  session.pause('menu');
  byId('play').focus({ preventScroll: true, focusVisible: false });
}

function openDialog(open) {
  open();
  controls.unlock();
  updateControls();
}

function openSay() {
  if (mode !== 'playing') play({ lock: false });
  say.show();
  controls.unlock();
  updateControls();
}

function openEditor() {
  if (!canPlay() || !session.info.controls.includes('path')) return;
  controls.unlock();
  if (mode !== 'playing') play({ lock: false });
  editor.show();
}

/** Shows a picture over the stage, or none. */
function showPreview(source) {
  const preview = byId('preview');
  preview.hidden = !source;
  if (source) preview.src = source;
  else preview.removeAttribute('src');
}

async function openFilm() {
  if (!mine() || overlay.kind !== null || dialogOpen()) return;
  editor.close();
  if (mode !== 'playing') setMode('playing');
  session.pause('film');
  session.resume('menu');
  await attempt(async () => film.show(await keeping.filmstrip(), history, session.info.frames_per_chunk / session.info.fps));
  if (!film.open) session.resume('film');
  controls.unlock();
  updateControls();
  body.classList.toggle('filming', film.open);
}

function closeFilm() {
  if (!film.open) return;
  film.close();
  body.classList.remove('filming');
  session.resume('film');
  updateControls();
}

function goBackTo(chunk) {
  const { head } = film;
  closeFilm();
  if (chunk !== head) session.rewind(chunk);
}

function heldChanged(down, { pressedAt }) {
  lightMenu(down); // at once: the answer of the model comes later
  lightEcho(down);
  session.keys(down, pressedAt);
  if (pressedAt === null) return;
  editor.touched(session.stats.seq);
  wakeBar(false);
  news.touched();
}

function lockChanged(locked) {
  body.classList.toggle('locked', locked);
  if (locked) return;
  lockLostAt = performance.now();
  const wanted = dialogOpen() || film.open || say.open || editor.open;
  if (mode === 'playing' && document.visibilityState === 'visible' && document.hasFocus() && !wanted) openMenu();
}

function gamepadPressed(what) {
  const choosing = mode !== 'playing' || dialogOpen();
  if (what === 'confirm') return choosing && (pressFocused() || (canPlay() && play({ lock: false })));
  if (what === 'next' || what === 'previous') return choosing && moveFocus(what === 'next' ? 1 : -1);
  const dialog = document.querySelector('dialog[open]');
  if (what === 'back' && dialog) return dialog.close();
  return runCommand(what);
}

function pickScene(name) {
  if (mode === 'welcome') return startOver({ scene: name });
  session.scene(name);
  if (mode === 'menu') play({ lock: false });
}

function startOver(change) {
  if (change.image) session.begin({ ...wanted(), ...change });
  else session.reset(change);
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

/** Runs what may fail with a sentence, and says `done` where it does not. */
async function attempt(work, done = '') {
  try {
    await work();
    if (done) toast(done);
  } catch (error) {
    toast(error.message);
  }
}

function showLink(title, link) {
  openDialog(() => copyBox.show(title, link));
}

function openSaved(file) {
  keepPanel.close();
  return attempt(async () => { location.href = await keeping.open(file); });
}

function toggleRecording() {
  if (!session.info) return;
  if (keeping.recorded === null) {
    keeping.record();
    const show = () => {
      const seconds = keeping.recorded;
      chips.set('recording', seconds === null ? null : `Recording ${seconds.toFixed(0)} s: ${labelOf(codeOf('record'))} saves it`, 'live');
      if (seconds !== null) setTimeout(show, 500);
    };
    show();
  } else {
    attempt(() => keeping.stop(), 'The recording is saved.');
    chips.set('recording', null);
  }
}

async function toggleFullscreen() {
  try {
    if (document.fullscreenElement) await document.exitFullscreen();
    else await document.documentElement.requestFullscreen({ navigationUI: 'hide' });
  } catch {
    toast('This browser does not allow full screen here.');
  }
}

function showStatus(kind, data) {
  overlay.show(kind, data);
  if (!PASSING.has(kind)) closeFilm();
  updateControls();
  if (!PASSING.has(kind) || data?.attempt > PATIENT_ATTEMPTS) controls.unlock();
}

function showNews(message) {
  if (message.type === 'history') history = message;
  if (message.type === 'replay' && message.state === 'playing' && mode === 'welcome') setMode('playing');
  news.show(message);
}

function showInfo(info) {
  if (info.scenes) scenes.fill(info.scenes);
  scenes.mark(info.scene);
  byId('where-scene').textContent = scenes.title(info.scene);
  byId('where-model').textContent = modelSize(info.parameters);
  document.title = `${scenes.title(info.scene)} · flashdreams`;
  seedForm.show(info.seed);
  editor.info();
  for (const button of document.querySelectorAll('[data-needs]')) button.hidden = !info.controls.includes(button.dataset.needs);
  body.classList.toggle('watching', Boolean(info.spectator));
  chips.set('watching', info.spectator ? 'You are watching' : null, 'live');
  if (info.spectator) setMode('playing');
  else writeAddress(info);
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
  updateControls();
}

function wireMenu() {
  stage.addEventListener('click', (event) => {
    if (!canPlay() || controls.locked || controls.dragged) return;
    play({ lock: event.detail > 0 });
  });
  new StartPicture(byId('picture'), byId('picture-file'), { attempt, chosen: (image) => startOver({ image }) });
  byId('play').addEventListener('click', () => canPlay() && play({ lock: true }));
  for (const button of document.querySelectorAll('[data-command]')) {
    button.addEventListener('click', () => {
      if (mode === 'playing') button.blur(); // else the next space bar presses it again
      runCommand(button.dataset.command);
    });
  }
  document.addEventListener('pointermove', (event) => event.pointerType !== 'touch' && !controls.locked && wakeBar(true));
  document.addEventListener('visibilitychange', visibilityChanged);
  document.addEventListener('contextmenu', (event) => event.target.closest('#stage') && event.preventDefault());
}

async function begin() {
  if (document.visibilityState === 'hidden') return; // browsers open no media in a hidden tab; the server's places are few
  begun = true;
  const asked = new URLSearchParams(location.search).get('player');
  const players = await usablePlayers(asked);
  if (players.length === 0) {
    overlay.show('codec', { asked });
    return;
  }
  session.usePlayers(players);
  session.beginAgain(wantedFromAddress());
}

exposeDebug(() => ({
  mode, status: overlay.kind, state: session.state, info: session.info, chunk: session.chunk, held: controls.held, locked: controls.locked,
  stats: { ...session.stats, fps: hud.fps }, latencies: session.latencies, timeline: session.timeline, player: session.playerName, history, editor: editor.state,
}), () => session.picture);
wireMenu();
nameKeys();
byId('help').addEventListener('close', nameKeys);
learnLayout().then(() => { relabel(); nameKeys(); });
setMode('welcome');
begin();
