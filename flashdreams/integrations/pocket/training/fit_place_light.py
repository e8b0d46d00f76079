"""Fits the light of a stored place to the network of views: so that its pictures are nearest to the renderer's.

The network learnt lights of the usual days, and places have lights of their own. The colours and strengths that it is
told, and a gain of the ground's colours, are found by gradient descent through the network on views of the place.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from flashdreams.integrations.pocket.land.kinds import Color
from flashdreams.integrations.pocket.land.light import Light
from flashdreams.integrations.pocket.land.state import GROUND
from flashdreams.integrations.pocket.tiles.sight import ALBEDO, LocalState, Seen, look
from flashdreams.integrations.pocket.tiles.store import packed, unpacked
from flashdreams.integrations.pocket.tiles.stored import StoredPlace
from flashdreams.integrations.pocket.tiles.view_network import ViewNetwork

STEPS, RATE = 60, 0.02
"""Steps of the descent, and its rate."""
_GROUND_BELOW = slice(24, 27)
"""Features of a ray that hold the ground's colour below where it ends, see `sight`."""
_FITTED = slice(3, 17)
"""Entries of a light's vector that are fitted: all colours, sunlight and ambient."""


def fitted(place: StoredPlace, network: ViewNetwork, poses: Tensor, truth: Tensor, steps: int = STEPS) -> StoredPlace:
    """Return `place` with a light and ground by which its views at `poses [N, 4, 4]` come nearest to `truth`.

    `truth [N, 3, 144, 256]` in 0..1.
    """
    local = LocalState.of(unpacked(place.state), (0.0, 0.0), place.light)
    seen = [look(local, pose.float()) for pose in poses]
    own = place.light.vector()
    angle = torch.tensor(place.light.hour / 24 * 2 * math.pi, requires_grad=True)
    change, gain = torch.zeros(_FITTED.stop - _FITTED.start, requires_grad=True), torch.ones(3, requires_grad=True)
    optimizer = torch.optim.Adam([change, gain, angle], RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        for each, image in zip(seen, truth, strict=True):
            entries = [own[:3], own[_FITTED] + change, own[17:21], angle.sin()[None], angle.cos()[None], own[23:]]
            told = torch.cat(entries)
            drawn = network(_with_gain(each, gain)[None], told[None])[0]
            ((drawn.clamp(-0.1, 1.1) - image).square().mean() / len(seen)).backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    return with_light(place, own[_FITTED] + change.detach(), float(angle.detach()), gain.detach())


def with_light(place: StoredPlace, entries: Tensor, angle: float, gain: Tensor) -> StoredPlace:
    """Return `place` with `entries [14]` of a light's vector, the hour of `angle`, and its ground times `gain [3]`."""
    sun, zenith, horizon, ridge, strengths = entries.split([3, 3, 3, 3, 2])
    light: Light = replace(
        place.light, sun=_color(sun), zenith=_color(zenith), horizon=_color(horizon), ridge=_color(ridge),
        sunlight=float(strengths[0]), ambient=float(strengths[1]), hour=(angle / (2 * math.pi) * 24) % 24,
    )  # fmt: skip
    state = unpacked(place.state)
    state[GROUND] = ((state[GROUND] * 0.5 + 0.5) * gain[:, None, None]).clamp(0, 1) * 2 - 1
    return replace(place, light=light, state=packed(state))


def _with_gain(seen: Seen, gain: Tensor) -> Tensor:
    """Return the features of a view with the ground's colours times `gain`."""
    rows = seen.features
    more = gain[:, None, None]
    ground = ((rows[ALBEDO : ALBEDO + 3] * 0.5 + 0.5) * more).clamp(0, 1) * 2 - 1
    albedo = torch.where(rows[1:2] > 0, ground, rows[ALBEDO : ALBEDO + 3])
    below = ((rows[_GROUND_BELOW] * 0.5 + 0.5) * more).clamp(0, 1) * 2 - 1
    return torch.cat([rows[:ALBEDO], albedo, rows[ALBEDO + 3 : _GROUND_BELOW.start], below, rows[_GROUND_BELOW.stop :]])


def _color(rgb: Tensor) -> Color:
    r, g, b = rgb.tolist()
    return (r, g, b)
