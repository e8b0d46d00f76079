// @ts-check
/** Shows the session's scene, seed and model in the menu, the title and the address. */

import { modelSize } from '../lib/format.js';
import { byId } from '../lib/dom.js';
import { relabel } from '../input/keycaps.js';
import { declare } from '../input/keymap.js';
import { nameKeys } from './bar.js';
import { writeAddress } from './scenes.js';

/**
 * @param {import('../net/session.js').SessionInfo} info
 * @param {import('../app.js').Parts} parts
 */
export function showInfo(info, { actionButtons, badges, modes, quickEvents, scenes, seedForm, session }) {
  declare(info);
  actionButtons.show(info.actions ?? []);
  quickEvents.show(info);
  relabel();
  nameKeys();
  if (info.scenes) scenes.fill(info.scenes);
  scenes.mark(info.scene);
  byId('where-scene').textContent = scenes.title(info.scene);
  byId('where-model').textContent = modelSize(info.parameters);
  document.title = `${scenes.title(info.scene)} · flashdreams`;
  seedForm.show(info.seed, info.text);
  for (const part of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('[data-needs]'))) {
    part.hidden = !info.controls.includes(part.dataset.needs ?? '');
  }
  document.body.classList.toggle('watching', info.spectator && !session.steers);
  modes.update();
  badges.set('watching', info.spectator && !session.steers ? 'You are watching' : null, 'live');
  if (info.spectator) modes.mode = 'playing';
  else writeAddress(info);
}
