"""The refinement of tiles: things of a tile in cells of half a metre, made in cells half as large, in one pass.

The second stage of a cascade (Ho et al., "Cascaded Diffusion Models", 2021), here a regression: its input is corrupted
in training as a tile from the diffusion model is. Ground, water and glow stay in coarse cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flashdreams.infra.config import InstantiateConfig
from flashdreams.integrations.pocket.land.state import CHANNELS, COLOR, FINE_GRID, OCCUPANCY, PAIRS
from flashdreams.integrations.pocket.tiles.config import TILE
from flashdreams.integrations.pocket.tiles.lands import Spot
from flashdreams.integrations.pocket.tiles.masks import known_neighbours

EDGE = 4
"""Cells of the neighbours that a tile is refined with, on every side."""
REFINED = FINE_GRID.levels + 3 * FINE_GRID.pairs
"""Channels of a column of fine cells: occupancy and colours."""
_SHARES = 2 * 2
"""Fine columns in a coarse one."""


@dataclass(kw_only=True)
class RefinementConfig(InstantiateConfig):
    """Config of `Refinement`."""

    _target: type = field(default_factory=lambda: Refinement)

    width: int = 64
    """Channels in coarse cells."""
    deep: int = 128
    """Channels in cells of a metre."""
    blocks: int = 3
    """Residual blocks in cells of a metre."""


class Refinement(nn.Module):
    """Fine things `[N, 80, 2 h, 2 w]` of coarse states `[N, 45, h, w]`; h and w are even.

    The network tells what the coarse state, enlarged, is wrong by.
    """

    def __init__(self, config: RefinementConfig) -> None:
        super().__init__()
        self.config = config
        width, deep = config.width, config.deep
        self.stem = nn.Conv2d(CHANNELS, width, 3, padding=1)
        self.down = nn.Conv2d(width, deep, 4, 2, 1)
        self.deep = nn.ModuleList([_Block(deep) for _ in range(config.blocks)])
        self.up = nn.Conv2d(deep, width, 1)
        self.last = _Block(width)
        self.head = nn.Conv2d(width, REFINED * _SHARES, 3, padding=1)
        nn.init.normal_(self.head.weight, std=1e-3)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, state: Tensor) -> Tensor:
        """See the class."""
        stem = self.stem(state.contiguous(memory_format=torch.channels_last))
        h = self.down(F.silu(stem))
        for block in self.deep:
            h = block(h)
        h = self.last(stem + F.interpolate(self.up(F.silu(h)), scale_factor=2, mode="nearest"))
        return enlarged(state) + F.pixel_shuffle(self.head(F.silu(h)).float(), 2)


class _Block(nn.Module):
    """Two 3x3 convolutions beside a skip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        """`x [N, C, h, w]`."""
        return x + self.conv2(F.silu(self.conv1(F.silu(x))))


def enlarged(state: Tensor) -> Tensor:
    """The things `[N, 80, 2 h, 2 w]` of coarse states `[N, 45, h, w]`, interpolated."""
    occupancy = F.interpolate(state[:, None, OCCUPANCY], scale_factor=2, mode="trilinear", align_corners=False)[:, 0]
    colors = state[:, COLOR].unflatten(1, (PAIRS, 3)).repeat_interleave(2, 1).flatten(1, 2)
    return torch.cat([occupancy, F.interpolate(colors, scale_factor=2, mode="nearest")], 1)


def window_of(spot: Spot, tile: Tensor, tiles: Mapping[Spot, Tensor]) -> Tensor:
    """`[1, 45, 40, 40]`: a coarse `tile [45, 32, 32]` with edges of the `tiles` that it was dreamed from.

    Edges that it was not dreamed from repeat its own border: a refined tile depends on the order of visits as little
    as a coarse one.
    """
    window = F.pad(tile[None], (EDGE, EDGE, EDGE, EDGE), mode="replicate")
    i, j = spot
    for near in known_neighbours(i, j):
        (rows, from_rows), (columns, from_columns) = _edge(near[1] - j), _edge(near[0] - i)
        window[0, :, rows, columns] = tiles[near][:, from_rows, from_columns]
    return window


def _edge(step: int) -> tuple[slice, slice]:
    """Locate a neighbour `step` (-1, 0, 1) tiles away: cells of the window, and cells of the neighbour's tile."""
    if step < 0:
        return slice(0, EDGE), slice(TILE - EDGE, TILE)
    if step > 0:
        return slice(EDGE + TILE, None), slice(0, EDGE)
    return slice(EDGE, EDGE + TILE), slice(0, TILE)
