// @ts-check
/** The page: makes its parts and connects them. Everything else is in the modules. */

import { Commands } from './input/commands.js';
import { Controls } from './input/controls.js';
import { drawKeys, relabel } from './input/keycaps.js';
import { learnLayout } from './input/keymap.js';
import { exposeDebug } from './lib/debug.js';
import { byId } from './lib/dom.js';
import { Downloads } from './lib/downloads.js';
import { socketAddress } from './net/connection.js';
import { Session } from './net/session.js';
import { PLAYERS, usablePlayers } from './players/factory.js';
import { createUpscaler } from './players/upscaler.js';
import { Editor } from './editor/editor.js';
import { ActionButtons } from './views/action_buttons.js';
import { Badges, RecordingBadge } from './views/badges.js';
import { nameKeys, wakeBar } from './views/bar.js';
import { CopyBox, DownloadsPanel } from './views/downloads_panel.js';
import { Handover } from './views/handover.js';
import { Filmstrip } from './views/filmstrip.js';
import { Help } from './views/help.js';
import { Hud } from './views/hud.js';
import { Modes } from './views/modes.js';
import { Notices } from './views/notices.js';
import { Overlay } from './views/overlay.js';
import { Prompt } from './views/prompt.js';
import { QuickEvents } from './views/quick_events.js';
import { ScenePicker, wantedFromAddress, wrongSeedInAddress } from './views/scenes.js';
import { SeedForm } from './views/seed.js';
import { showInfo } from './views/session_info.js';
import { StartImage } from './views/start_image.js';

/**
 * The page's parts, as they refer to one another.
 * @typedef {object} Parts
 * @property {ActionButtons} actionButtons
 * @property {Badges} badges
 * @property {Commands} commands
 * @property {Controls} controls
 * @property {CopyBox} copyBox
 * @property {Downloads} downloads
 * @property {DownloadsPanel} downloadsPanel
 * @property {Editor} editor
 * @property {Filmstrip} filmstrip
 * @property {Handover} handover
 * @property {Help} help
 * @property {Hud} hud
 * @property {Modes} modes
 * @property {Notices} notices
 * @property {Overlay} overlay
 * @property {Prompt} prompt
 * @property {QuickEvents} quickEvents
 * @property {RecordingBadge} recordingBadge
 * @property {ScenePicker} scenes
 * @property {SeedForm} seedForm
 * @property {Session} session
 */

const WRONG_SEED_MS = 20_000;

const stage = byId('stage');
const parts = /** @type {Parts} */ ({});
const toast = (/** @type {string} */ text) => parts.overlay.toast(text);
const update = () => parts.modes.update();
const upscaler = createUpscaler(stage);
const lightMenu = drawKeys(byId('keys'), { hints: true });
const lightEcho = drawKeys(byId('echo'));

parts.overlay = new Overlay(byId('overlay'), {
  retry: () => parts.session.retry(),
  fresh: () => parts.commands.startAfresh(),
  defaults: () => { location.href = './'; },
  reload: () => location.reload(),
});
parts.badges = new Badges(byId('badges'));
parts.notices = new Notices(parts.badges, toast);
parts.session = new Session(stage, socketAddress(), {
  status: (kind, data) => {
    parts.overlay.show(kind, data);
    parts.modes.statusChanged(kind, data);
  },
  info: (info) => {
    showInfo(info, parts);
    parts.editor.info();
  },
  frame: (chunk, now) => {
    const source = parts.session.frameSource;
    if (source) upscaler?.show(source);
    parts.hud.frame(now);
    parts.editor.shown(chunk);
    parts.quickEvents.shown(parts.session.info?.spectator ? { ...chunk, seq: Infinity } : chunk);
  },
  arrived: (chunk) => parts.editor.arrived(chunk),
  refused: (seq) => parts.editor.refused(seq),
  serverNotice: (message) => {
    if (message.type === 'replay' && message.state === 'playing' && parts.modes.mode === 'welcome') parts.modes.mode = 'playing';
    parts.notices.show(message);
    parts.handover.show(message);
  },
  toast,
});
parts.hud = new Hud(byId('hud'), () => {
  const { stats, latencies, timeline, chunk, info, state, playerName } = parts.session;
  return { stats, latencies, timeline, chunk, info, state, player: playerName && PLAYERS[playerName].label, history: parts.notices.history };
});
parts.handover = new Handover(byId('handover'), (watcher) => {
  parts.session.handOver(watcher);
  if (watcher !== null) parts.modes.watchOn();
});
parts.downloads = new Downloads(() => parts.session.info, () => parts.session.receivedSeconds);
parts.recordingBadge = new RecordingBadge(parts);
parts.help = new Help(byId('help'), () => {
  nameKeys();
  update();
});
parts.downloadsPanel = new DownloadsPanel(byId('downloads'), {
  run: (name) => parts.commands.run(name),
  open: (file) => {
    parts.downloadsPanel.close();
    parts.overlay.attempt(async () => { location.href = await parts.downloads.open(file); });
  },
  onClose: update,
});
parts.copyBox = new CopyBox(byId('copy'), { onClose: update, toast });
parts.prompt = new Prompt(byId('prompt'), { submit: (text) => parts.session.inputs.setPrompt(text), onClose: update });
parts.actionButtons = new ActionButtons(byId('actions'), (name, held) => parts.controls.setActions(`button-${name}`, held ? [name] : [], performance.now(), !held));
parts.quickEvents = new QuickEvents(byId('quick'), byId('events'), { send: (name, text) => parts.session.inputs.event(name, text), onClose: update });
parts.filmstrip = new Filmstrip(byId('filmstrip'), byId('preview'), {
  rewind: (chunk) => parts.modes.rewindTo(chunk),
  close: () => parts.modes.closeFilmstrip(),
});
parts.editor = new Editor(byId('editor'), stage, parts.session, {
  toast,
  attempt: (/** @type {() => unknown} */ work) => parts.overlay.attempt(work),
  closed: update,
  preview: byId('preview'),
  saveVideo: (/** @type {number} */ seconds) => parts.overlay.attempt(() => parts.downloads.video(seconds), 'The video is saved.'),
});
parts.modes = new Modes(parts, byId('menu'));
parts.commands = new Commands(parts);
parts.scenes = new ScenePicker(byId('scenes'), (name) => parts.commands.pickScene(name));
parts.seedForm = new SeedForm(byId('seed-form'), (change) => parts.commands.startOver(change));
new StartImage(byId('start-image'), byId('start-image-file'), {
  attempt: (/** @type {() => unknown} */ work) => parts.overlay.attempt(work),
  chosen: (image) => parts.commands.startOver({ image }),
});
parts.controls = new Controls(stage, { walk: byId('stick-walk'), look: byId('stick-look') }, {
  keys: (down, { pressedAt }) => {
    lightMenu(down); // at once: the model answers later
    lightEcho(down);
    parts.session.inputs.keys(down, pressedAt);
    if (pressedAt === null) return;
    parts.editor.touched(parts.session.stats.seq);
    parts.notices.touched();
    wakeBar(false);
  },
  action: (name, held, at) => {
    parts.actionButtons.light(parts.controls.heldActions);
    parts.session.inputs.action(name, held, at);
    if (held) parts.notices.touched();
  },
  quick: (number, held) => parts.quickEvents.press(number, held),
  look: (yaw, pitch, scroll) => {
    if (parts.editor.doing === 'dream') parts.editor.stop();
    parts.session.inputs.look(yaw, pitch, scroll);
    parts.notices.touched();
    parts.editor.touched(parts.session.stats.seq);
  },
  command: (name) => parts.commands.run(name),
  lock: (locked) => parts.modes.lockChanged(locked),
  wake: () => parts.modes.wake(),
  press: (command) => parts.commands.press(command),
  found: (_, standard) => toast(standard
    ? 'A gamepad is connected: its sticks walk and look.'
    : 'A gamepad without the standard layout is connected: its first stick walks, its second one looks.'),
});

stage.addEventListener('click', (/** @type {MouseEvent} */ event) => {
  if (!parts.controls.locked && !parts.controls.dragged && parts.modes.canPlay) parts.modes.play({ lock: event.detail > 0 });
});
byId('menu').addEventListener('click', (/** @type {MouseEvent} */ event) => { // it lies over the stage where it scrolls
  const onControl = /** @type {Element} */ (event.target).closest('button, input, label');
  if (!onControl && parts.modes.canPlay) parts.modes.play({ lock: event.detail > 0 });
});
byId('play').addEventListener('click', () => parts.modes.canPlay && parts.modes.play({ lock: true }));
for (const button of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('[data-command]'))) {
  button.addEventListener('click', () => {
    if (parts.modes.mode === 'playing') button.blur(); // else the next space bar presses it again
    parts.commands.run(button.dataset.command ?? '');
  });
}
document.addEventListener('pointermove', (event) => event.pointerType !== 'touch' && !parts.controls.locked && wakeBar(true));
document.addEventListener('contextmenu', (event) => /** @type {Element} */ (event.target).closest('#stage') && event.preventDefault());
document.addEventListener('visibilitychange', () => {
  parts.modes.visibilityChanged();
  start();
});

let started = false;

/** Starts the session, once the tab is visible: browsers open no media in a hidden tab, and the server's places are few. */
async function start() {
  if (started || document.visibilityState === 'hidden') return;
  started = true;
  const asked = new URLSearchParams(location.search).get('player');
  const players = await usablePlayers(asked);
  if (players.length === 0) {
    parts.overlay.show('codec', { asked });
    return;
  }
  parts.badges.set('seed', wrongSeedInAddress(), 'warn');
  setTimeout(() => parts.badges.set('seed', null), WRONG_SEED_MS);
  parts.session.usePlayers(players);
  parts.session.beginAgain(wantedFromAddress());
}

exposeDebug(() => {
  const { session, controls, overlay, modes, hud, notices, editor } = parts;
  return {
    mode: modes.mode, steers: session.steers, status: overlay.kind, state: session.state, info: session.info, chunk: session.chunk, held: controls.held, actions: controls.heldActions, event: parts.quickEvents.active, locked: controls.locked,
    stats: { ...session.stats, fps: hud.fps }, latencies: session.latencies, timeline: session.timeline, player: session.playerName,
    history: notices.history, editor: editor.state,
  };
}, () => parts.session.frameSource);
nameKeys();
learnLayout().then(() => {
  relabel();
  nameKeys();
});
parts.modes.mode = 'welcome';
start();
