"""The movers in view through the frames of one chunk: where each is, how its parts stand, and how well it is seen."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.integrations.pocket.land.camera import FOV_DEGREES
from flashdreams.integrations.pocket.movers.figures import VARIETIES, Figure, figure_of
from flashdreams.integrations.pocket.movers.senses import CRUISE
from flashdreams.integrations.pocket.movers.state import HEADING, HEIGHT, PHASE, SPEED, TURN, Floats, Kind, Movers, X, Z
from flashdreams.integrations.pocket.movers.transition import SECONDS
from flashdreams.integrations.pocket.tiles.sight import LocalState

DRAWN = 8
"""Movers drawn at most: the nearest in view."""
FADES = (26.0, 32.0)
"""Metres from which movers on the ground fade, and where they are gone."""
BIRDS_FADE = (42.0, 56.0)
_SLACK = 2.5
"""Metres to either side of the view within which a mover may reach into it."""


@dataclass(frozen=True)
class Tracks:
    """Movers `N` in frames `F`, the farthest first."""

    figures: tuple[Figure, ...]
    points: Floats
    """`[F, N, 3]`: east, up, north."""
    heading: Floats
    """`[F, N]`"""
    phase: Floats
    going: Floats
    """0 at rest to 1."""
    bank: Floats
    birds: Floats
    """`[N]`: 1 for birds."""
    visible: Floats
    """`[N]`, 0 to 1: by distance and by the mist before missing tiles."""
    shadow: Floats
    """`[N]`: 1 where the sun does not reach."""
    lamp: Floats
    """`[N]`: light of lamps."""

    def __len__(self) -> int:
        return len(self.figures)

    @classmethod
    def of(cls, before: Movers, now: Movers, place: LocalState, clear: Tensor, poses: Tensor, clock: float) -> Tracks:
        """Of the movers in view at the last of `poses [F, 4, 4]`; `clear` is a `veil.clear_map`, `clock` in seconds."""
        chosen, visible = _in_view(now, poses[-1].numpy())
        if len(chosen):
            visible = visible * _lifted(place, clear, poses[-1], now.values[chosen])
            chosen, visible = chosen[visible > 0.01], visible[visible > 0.01]
        new = now.chosen(chosen)
        shadow, lamp = _light_at(place, new.values)
        figures = tuple(
            figure_of(int(kind), int(land), int(key % VARIETIES))
            for kind, land, key in zip(new.kinds, new.lands, new.keys, strict=True)
        )
        motion = _motion(_earlier(before, new), new, len(poses), clock)
        birds = (new.kinds == Kind.BIRD).astype(np.float32)
        return cls(figures, *motion, birds, visible.astype(np.float32), shadow, lamp)


def _in_view(now: Movers, pose: Floats) -> tuple[np.ndarray, Floats]:
    """Which movers the camera sees, the farthest first, and how well by their distance."""
    values = now.values
    away = np.stack([values[:, X] - pose[0, 3], -values[:, HEIGHT] - pose[1, 3], values[:, Z] - pose[2, 3]], 1)
    local = away @ pose[:3, :3]
    distance = np.hypot(away[:, 0], away[:, 2])
    near, far = (np.where(now.kinds == Kind.BIRD, BIRDS_FADE[i], FADES[i]) for i in (0, 1))
    visible = np.clip((far - distance) / (far - near), 0, 1)
    limit = math.tan(math.radians(FOV_DEGREES) / 2)
    seen = (visible > 0.01) & (local[:, 2] > -1) & (np.abs(local[:, 0]) < limit * local[:, 2].clip(0) + _SLACK)
    chosen = np.nonzero(seen)[0]
    chosen = chosen[np.argsort(distance[chosen], kind="stable")][:DRAWN][::-1]
    return chosen, visible[chosen]


def _earlier(before: Movers, now: Movers) -> Floats:
    """`[N, 16]`: values of the movers `now` one chunk before; their present ones for those that were not there."""
    rows = {int(key): row for row, key in enumerate(before.keys)}
    result = now.values.copy()
    for row, key in enumerate(now.keys):
        if int(key) in rows:
            result[row] = before.values[rows[int(key)]]
    return result


def _motion(old: Floats, now: Movers, frames: int, clock: float) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Points, heading, phase, going and bank between the `old` values and those now."""
    new, part = now.values, (np.arange(1, frames + 1, dtype=np.float32) / frames)[:, None]
    turned = (new[:, HEADING] - old[:, HEADING] + math.pi) % (2 * math.pi) - math.pi
    points = old[:, [X, HEIGHT, Z]] + part[..., None] * (new - old)[:, [X, HEIGHT, Z]]
    speed, turn = (old[:, i] + part * (new[:, i] - old[:, i]) for i in (SPEED, TURN))
    time = clock + part * SECONDS + (now.keys % np.uint64(64)).astype(np.float32)
    boat, bird = now.kinds == Kind.BOAT, now.kinds == Kind.BIRD
    points[..., 1] += boat * 0.035 * np.sin(time * 1.9)
    bank = np.where(bird, 0.45 * turn, boat * 0.05 * np.sin(time * 1.3))
    going = np.clip(speed / (0.5 * np.array(CRUISE, np.float32)[now.kinds]), 0, 1)
    phase = old[:, PHASE] + part * ((new[:, PHASE] - old[:, PHASE]) % 1024.0)
    heading = old[:, HEADING] + part * turned
    return points, heading, phase, going, bank.astype(np.float32)


def _lifted(place: LocalState, clear: Tensor, pose: Tensor, values: Floats) -> Floats:
    """`[N]`: how clear the mist before missing tiles is on the way to each mover, as `veil` takes it."""
    target, origin = torch.from_numpy(values[:, [X, Z]]), pose[[0, 2], 3]
    points = origin + (target - origin) * torch.linspace(0, 1, 9)[:, None, None]
    here = F.grid_sample(clear[None, None], place.flat(points[..., 0], points[..., 1])[None], align_corners=False)[0, 0]
    distance = (points - origin).norm(dim=-1)
    result: Floats = (1 - ((1 - here) * ((distance - 4) / 4).clamp(0, 1)).amax(0)).numpy()
    return result


def _light_at(place: LocalState, values: Floats) -> tuple[Floats, Floats]:
    """Shadow and lamp light `[N]` where the movers are."""
    points = torch.from_numpy(values[:, [X, Z]])
    planes = torch.stack([place.shadow, place.lamps])[None]
    flat = place.flat(points[:, 0], points[:, 1])[None, None]
    found = F.grid_sample(planes, flat, padding_mode="border", align_corners=False)[0, :, 0].numpy()
    return found[0], found[1]
