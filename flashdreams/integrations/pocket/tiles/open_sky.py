"""The sky between things, and the ground that mist hides all but wholly: computed for each pixel, not learnt."""

from __future__ import annotations

import torch
from torch import Tensor

from flashdreams.integrations.pocket.land.camera import HEIGHT, WIDTH, camera_origin, camera_rays, mist
from flashdreams.integrations.pocket.land.light import Light
from flashdreams.integrations.pocket.land.sky import mist_color, sky_color, sky_fields

GROUND, SKY = 1, 2
"""Kinds of what pixels show, beside 0 for things."""
_HIDES_FROM, _HIDES_ALL = 0.9, 0.99
"""Shares of the ground that mist hides from which its colour is that of the mist partly, and wholly."""
_LEVEL = -1e-4
"""Upward component below which a direction meets the ground."""


def open_sky(kinds: Tensor, pose: Tensor, light: Light) -> Tensor:
    """Return `[4, 144, 256]`: colours in 0..1, and the share that they have of each pixel, from 0 to 1.

    `kinds [144 * 256]` are those of what pixels show; `pose [4, 4]` is the camera's.
    """
    found = torch.zeros(4, HEIGHT * WIDTH)
    sky = (kinds == SKY).nonzero()[:, 0]
    above = camera_rays(pose, WIDTH, HEIGHT, sky)
    found[:3].index_copy_(1, sky, sky_color(sky_fields(above, light), light, above).clamp_(0, 1))
    found[3].index_fill_(0, sky, 1.0)
    bare = (kinds == GROUND).nonzero()[:, 0]
    ahead = camera_rays(pose, WIDTH, HEIGHT, bare)
    away = camera_origin(pose)[1] / (-ahead[1]).clamp_min(-_LEVEL)
    hidden = (mist(away, light.haze, light.thick) - _HIDES_FROM) * (1 / (_HIDES_ALL - _HIDES_FROM))
    far = (hidden > 0).nonzero()[:, 0]
    there = bare.index_select(0, far)
    found[:3].index_copy_(1, there, mist_color(ahead.index_select(1, far), light))
    found[3].index_copy_(0, there, hidden.index_select(0, far).clamp_max_(1))
    return found.unflatten(1, (HEIGHT, WIDTH))


def level_kinds(kinds: Tensor, pose: Tensor) -> Tensor:
    """Return the kinds `[144 * 256]` of single pixels from those of rays, `[72, 128]`.

    Pixels of one ray may be on both sides of the horizon.
    """
    each = kinds.repeat_interleave(2, 0).repeat_interleave(2, 1).flatten()
    direction = camera_rays(pose, WIDTH, HEIGHT)[1].flatten()
    return torch.where(each == 0, 0, torch.where(direction < _LEVEL, GROUND, SKY))
