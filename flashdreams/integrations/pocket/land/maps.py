"""Maps computed from a state alone: the sun's shadow on the ground, and the light of lamps."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.integrations.pocket.land.state import CELL, GLOW, LEVELS, OCCUPANCY

_LOWEST = 0.42
"""Upward component of the sun's direction below which shadows grow no longer."""
_BETWEEN = 2
"""Heights looked at in a level."""
_GLOWING = 0.55
"""Glow from which a cell gives light."""
_LAMP_REACH = 12
"""Cells along each axis that the light of a lamp reaches."""


def sun_shadow(state: Tensor, sun_dir: tuple[float, float, float]) -> Tensor:
    """`[H, W]`: 1 on ground that the sun does not reach, 0 where it does, of `state [45, H, W]`."""
    size = state.shape[-2:]
    heights = (torch.arange(LEVELS * _BETWEEN) + 0.5) * (CELL / _BETWEEN)
    x, up, z = sun_dir
    flat = max((x * x + z * z) ** 0.5, 1e-6)
    reach = min(flat / max(up, 1e-6), (1 - _LOWEST**2) ** 0.5 / _LOWEST)
    levels = F.interpolate(state[OCCUPANCY].permute(1, 2, 0)[None].flatten(1, 2), scale_factor=_BETWEEN, mode="linear")
    volume = levels[0].T.reshape(-1, 1, *size)
    solid = torch.full(size, -1.0)
    # All cells of a height look as far aside: four shifted copies, weighted, are its bilinear samples.
    some = volume.amax((1, 2, 3)) > -0.999
    for layer, height in zip(volume[some], heights[some].tolist(), strict=True):  # high up is mostly air
        aside = [height * axis / flat * reach / CELL for axis in (z, x)]
        torch.maximum(solid, _shifted(layer, *aside), out=solid)
    return (solid + 0.5).clamp(0, 1)


def _shifted(layer: Tensor, down: float, right: float) -> Tensor:
    """`[H, W]`: bilinear samples of `layer [1, H, W]` so many cells aside; beyond its border, the border."""
    i, j = math.floor(down), math.floor(right)
    height, width = layer.shape[-2:]
    rows = torch.arange(i, i + height + 1).clamp(0, height - 1)
    columns = torch.arange(j, j + width + 1).clamp(0, width - 1)
    near = layer[0].index_select(0, rows).index_select(1, columns)
    near = torch.lerp(near[:-1], near[1:], down - i)
    return torch.lerp(near[:, :-1], near[:, 1:], right - j)


def lamp_light(state: Tensor) -> Tensor:
    """`[H, W]`: how much light of lamps falls there, 0 to 1, of `state [45, H, W]`."""
    bright = (state[GLOW] - _GLOWING).clamp_min(0)
    if not bright.any():
        return bright
    # Pools are round, so that rows as far above as below share a product: a convolution takes fifty times as long.
    padded, height = F.pad(bright, (0, 0, _LAMP_REACH, _LAMP_REACH)), bright.shape[0]
    pairs = [
        padded.narrow(0, _LAMP_REACH - away, height) + padded.narrow(0, _LAMP_REACH + away, height)
        for away in range(1, _LAMP_REACH + 1)
    ]
    return (torch.cat([bright, *pairs], 1) @ _lamp_pools(bright.shape[1])).mul(1.1).clamp(0, 1)


@lru_cache(maxsize=4)
def _lamp_pools(width: int) -> Tensor:
    """`[13 * width, width]`: light of a glowing cell on rows 0 to 12 cells away, from each column in each column."""
    away = torch.arange(_LAMP_REACH + 1)[:, None, None] * CELL
    across = (torch.arange(width)[:, None] - torch.arange(width)).abs()
    pools = (1 + 0.35 * (away**2 + (across * CELL) ** 2)) ** -1.5
    return pools.masked_fill(across > _LAMP_REACH, 0.0).flatten(0, 1)
