"""Cells that a picture tells of: free where it is looked through, solid where it ends, unknown behind and beside.

A picture's things have distances, its ground follows from the known height and pitch of the camera. So each cell in
view lies before, at or behind what its spot of the picture shows: a signed distance along the ray, cut off behind the
surface, as in volumetric fusion of range images (Curless and Levoy 1996), from one image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from flashdreams.integrations.pocket.land.camera import EYE_HEIGHT, FOV_DEGREES, camera_pose
from flashdreams.integrations.pocket.land.state import (
    BAND,
    CELL,
    CHANNELS,
    COLOR,
    GROUND,
    LEVELS,
    OCCUPANCY,
    PAIRS,
    WATER,
)
from flashdreams.integrations.pocket.tiles.config import MARGIN, TILE, TILE_METRES, WINDOW

ROWS, COLUMNS = 36, 64
"""Spots of a picture of which it is known what they show."""
EYE = (TILE_METRES / 2, 5.5)
"""x and z of the camera: so that all that is near and in view lies on one tile, which is dreamed first."""
FARTHEST = 34.0
"""Metres from the camera to which a picture tells of cells."""
_FREE, _FREE_LEVELS = 1.0, 4
"""Metres around the camera, and levels above the ground, without things."""
_SURE = 0.5


@dataclass(frozen=True)
class Sights:
    """Things, ground and sky in a picture, by spots."""

    share: Tensor
    """`[2, 36, 64]`: of things and of ground, 0 to 1."""
    distance: Tensor
    """`[36, 64]`: metres along the ray to things."""
    color: Tensor
    """`[3, 36, 64]`: own colours, without light, -1 to 1."""
    water: Tensor
    """`[36, 64]`: water on the ground, -1 to 1."""
    pitch: float
    """Radians that the camera looks upward."""

    @property
    def pose(self) -> Tensor:
        """Camera-to-world `[4, 4]` of the camera, in a land that follows the picture."""
        return camera_pose(*EYE, 0.0, self.pitch)


class Observation(NamedTuple):
    """Cells of a window that a picture shows."""

    state: Tensor
    """`[45, H, H]`"""
    weight: Tensor
    """`[45, H, H]`: 1 where `state` is known, 0 where it is not."""

    def imposed(self, state: Tensor) -> Tensor:
        """Return `state [..., 45, H, H]` with what is known in its place."""
        return torch.lerp(state.float(), self.state, self.weight)


def observed(sights: Sights, spot: tuple[int, int]) -> Observation | None:
    """Return what `sights` tell of the window around tile `spot`; None if nothing."""
    row, column = (at * TILE - MARGIN for at in reversed(spot))
    z, x = ((torch.arange(WINDOW) + 0.5 + first) * CELL - at for first, at in ((row, EYE[1]), (column, EYE[0])))
    z, x = z[:, None].expand(WINDOW, WINDOW), x[None].expand(WINDOW, WINDOW)
    if float(z.max()) < 0 or float((x**2 + z**2).min()) > FARTHEST**2:
        return None
    heights = ((torch.arange(LEVELS) + 0.5) * CELL)[:, None, None]
    state, weight = torch.zeros(CHANNELS, WINDOW, WINDOW), torch.zeros(CHANNELS, WINDOW, WINDOW)
    behind, color, known = _volume(sights, x.expand(LEVELS, -1, -1), heights.expand(LEVELS, WINDOW, WINDOW), z)
    occupancy = torch.where(known, (behind / CELL).clamp(-1, 1), 0.0)
    near = (x**2 + z**2 < _FREE**2) & (torch.arange(LEVELS) < _FREE_LEVELS)[:, None, None]
    state[OCCUPANCY] = occupancy.masked_fill(near, -1.0)
    weight[OCCUPANCY] = (known | near).float()
    _paint(state, weight, behind, color, known & ~near)
    _floor(state, weight, sights, x, z)
    return Observation(state, weight)


def _volume(sights: Sights, x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Metres `[16, H, H]` that cells lie behind what their spots show, its colours `[3, ...]`, and what is known."""
    v, u, away, inside = _project(sights.pitch, x, y, z)
    things = sights.share[0][v, u] >= _SURE
    ground = ~things & (sights.share[1][v, u] >= _SURE)
    steep = (EYE_HEIGHT - y) / away
    reach = torch.where(things, sights.distance[v, u], torch.where(ground, EYE_HEIGHT / steep.clamp_min(1e-3), 1e3))
    behind = away - reach
    return behind, sights.color[:, v, u], inside & (away < FARTHEST) & (behind < BAND)


def _paint(state: Tensor, weight: Tensor, behind: Tensor, color: Tensor, known: Tensor) -> None:
    """Colours of pairs of levels: those of the one that lies deeper inside."""
    pairs = behind.masked_fill(~known, -1e3).unflatten(0, (PAIRS, 2))
    depth, which = pairs.max(1)
    chosen = color.unflatten(1, (PAIRS, 2)).gather(2, which[None, :, None].expand(3, -1, -1, -1, -1))[:, :, 0]
    near = (depth > -BAND)[None]
    state[COLOR] = (chosen * near).transpose(0, 1).flatten(0, 1)
    told = known.unflatten(0, (PAIRS, 2))
    told = torch.where(depth > -BAND, told.any(1), told.all(1))
    weight[COLOR] = told[:, None].expand(-1, 3, -1, -1).flatten(0, 1).float()


def _floor(state: Tensor, weight: Tensor, sights: Sights, x: Tensor, z: Tensor) -> None:
    """Ground and water where the picture shows them."""
    v, u, away, inside = _project(sights.pitch, x, torch.zeros_like(x), z)
    seen = inside & (away < FARTHEST) & (sights.share[1][v, u] >= _SURE)
    state[GROUND], state[WATER] = sights.color[:, v, u] * seen, sights.water[v, u] * seen
    weight[GROUND] = seen.float()
    weight[WATER] = seen.float()


def _project(pitch: float, x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rows and columns of the spots in which points are seen, their distances, and True for those in the picture.

    `x` and `z` are metres from the camera, which looks north; `y` is the height above the ground.
    """
    up = y - EYE_HEIGHT
    ahead, above = z * math.cos(pitch) + up * math.sin(pitch), up * math.cos(pitch) - z * math.sin(pitch)
    focal = 0.5 * COLUMNS / math.tan(math.radians(FOV_DEGREES) / 2)
    depth = ahead.clamp_min(0.1)
    u, v = x / depth * focal + COLUMNS / 2, ROWS / 2 - above / depth * focal
    inside = (ahead > 0.1) & (u >= 0) & (u < COLUMNS) & (v >= 0) & (v < ROWS)
    away = (x**2 + up**2 + z**2).sqrt().clamp_min(0.1)
    return v.long().clamp(0, ROWS - 1), u.long().clamp(0, COLUMNS - 1), away, inside
