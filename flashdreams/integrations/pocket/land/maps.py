"""What follows from a state by computation alone: the sun's shadow on the ground, and the light of lamps."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.integrations.pocket.land.state import CELL, GLOW, LEVELS, OCCUPANCY

_LOWEST = 0.42
"""Upward component of the sun's direction below which shadows grow no longer."""
_BETWEEN = 2
"""Heights looked at in a level."""


def sun_shadow(state: Tensor, sun_dir: tuple[float, float, float]) -> Tensor:
    """`[H, W]`: 1 on ground that the sun does not reach, 0 where it does, of `state [45, H, W]`."""
    size = state.shape[-2:]
    heights = (torch.arange(LEVELS * _BETWEEN) + 0.5) * (CELL / _BETWEEN)
    x, up, z = sun_dir
    flat = max((x * x + z * z) ** 0.5, 1e-6)
    reach = min(flat / max(up, 1e-6), (1 - _LOWEST**2) ** 0.5 / _LOWEST)
    levels = F.interpolate(state[OCCUPANCY].permute(1, 2, 0)[None].flatten(1, 2), scale_factor=_BETWEEN, mode="linear")
    volume = levels[0].T.reshape(-1, 1, *size)
    rows, columns = torch.meshgrid(torch.arange(size[0]) + 0.5, torch.arange(size[1]) + 0.5, indexing="ij")
    u = columns + (heights * (x / flat * reach / CELL)).view(-1, 1, 1)
    v = rows + (heights * (z / flat * reach / CELL)).view(-1, 1, 1)
    grid = torch.stack([u / size[1] * 2 - 1, v / size[0] * 2 - 1], -1)
    solid = F.grid_sample(volume, grid, padding_mode="border", align_corners=False)[:, 0]
    return (solid.amax(0) + 0.5).clamp(0, 1)


def lamp_light(state: Tensor) -> Tensor:
    """`[H, W]`: how much light of lamps falls there, 0 to 1, of `state [45, H, W]`."""
    bright = (state[GLOW] - 0.55).clamp_min(0)[None, None]
    side = torch.arange(-12, 13) * CELL
    away = side[:, None] ** 2 + side**2
    pool = (1 + 0.35 * away) ** -1.5
    return F.conv2d(bright, pool[None, None], padding=12)[0, 0].mul(1.1).clamp(0, 1)
