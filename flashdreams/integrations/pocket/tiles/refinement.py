"""The refinement of tiles: things of a tile in cells of half a metre, made in cells half as large, in one pass.

The second stage of a cascade (Ho et al., "Cascaded Diffusion Models", 2021), here a regression: its input is corrupted
in training as a tile from the diffusion model is. Ground, water and glow stay in coarse cells.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flashdreams.infra.config import InstantiateConfig
from flashdreams.integrations.pocket.land.state import CHANNELS, COLOR, FINE_GRID, OCCUPANCY, PAIRS
from flashdreams.integrations.pocket.tiles.config import MARGIN, TILE
from flashdreams.integrations.pocket.tiles.convolutions import Block

EDGE = 4
"""Cells of the neighbours that a tile is refined with, on every side."""
REFINED = FINE_GRID.levels + 3 * FINE_GRID.pairs
"""Channels of a column of fine cells: occupancy and colours."""
FINE_TILE = TILE * FINE_GRID.fineness
"""Fine cells of a tile along each side."""
AIR = -0.92
"""Occupancy below which a fine cell is nothing but air."""
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
        self.deep = nn.ModuleList([Block(deep) for _ in range(config.blocks)])
        self.up = nn.Conv2d(deep, width, 1)
        self.last = Block(width)
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


def enlarged(state: Tensor) -> Tensor:
    """The things `[N, 80, 2 h, 2 w]` of coarse states `[N, 45, h, w]`, interpolated."""
    occupancy = F.interpolate(state[:, None, OCCUPANCY], scale_factor=2, mode="trilinear", align_corners=False)[:, 0]
    colors = state[:, COLOR].unflatten(1, (PAIRS, 3)).repeat_interleave(2, 1).flatten(1, 2)
    return torch.cat([occupancy, F.interpolate(colors, scale_factor=2, mode="nearest")], 1)


def cut(windows: Tensor, masks: Tensor) -> Tensor:
    """`[N, 45, 40, 40]` of `windows [N, 45, 48, 48]` around a tile: what `masks` do not know repeats its border.

    So a refined tile depends on the tiles that it was dreamed from, and no others.
    """
    tile = windows[:, :, MARGIN:-MARGIN, MARGIN:-MARGIN]
    whole = F.pad(tile, (EDGE, EDGE, EDGE, EDGE), mode="replicate")
    whole[:, :, EDGE:-EDGE, EDGE:-EDGE] = tile
    crop = slice(MARGIN - EDGE, EDGE - MARGIN)
    known = masks[:, :, crop, crop] > 0
    known[:, :, EDGE:-EDGE, EDGE:-EDGE] = False
    return torch.where(known, windows[:, :, crop, crop], whole)


@torch.no_grad()
def refined(network: Refinement, window: Tensor, mask: Tensor, bfloat16: bool = False) -> bytes:
    """The things of the tile in the middle of `window [45, 48, 48]` in fine cells, as `things_of` reads them.

    `mask [1, 48, 48]` is 1 where the window holds the neighbours that the tile was dreamed from.
    """
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        found = network(cut(window[None], mask[None]))[0]
    return compressed(thinned(found[:, 2 * EDGE : -2 * EDGE, 2 * EDGE : -2 * EDGE]))


def thinned(things: Tensor) -> Tensor:
    """`things [80, H, W]` in 8 bits, with nothing where there is only air."""
    occupancy, colors = things.clamp(-1, 1).split([FINE_GRID.levels, 3 * FINE_GRID.pairs])
    occupancy = torch.where(occupancy < AIR, -1.0, occupancy)
    bare = occupancy.unflatten(0, (-1, 2)).amax(1) <= -1
    colors = colors.unflatten(0, (-1, 3)).masked_fill(bare[:, None], 0.0).flatten(0, 1)
    return (torch.cat([occupancy, colors]) * 127).round().to(torch.int8)


def compressed(things: Tensor) -> bytes:
    """Things `[80, 64, 64]` of a tile in 8 bits, as `things_of` reads them."""
    occupancy, colors = things.split([FINE_GRID.levels, 3 * FINE_GRID.pairs])
    numbers = (occupancy.contiguous(), colors.permute(1, 2, 0).contiguous())
    return zlib.compress(b"".join(x.numpy().tobytes() for x in numbers), 1)


@lru_cache(maxsize=36)
def things_of(packed: bytes) -> tuple[Tensor, Tensor]:
    """Occupancy `[32, 64, 64]` and colours `[64, 64, 48]` of a refined tile, both in 8 bits."""
    numbers = torch.frombuffer(bytearray(zlib.decompress(packed)), dtype=torch.int8)
    occupancy, colors = numbers.split([FINE_GRID.levels * FINE_TILE**2, 3 * FINE_GRID.pairs * FINE_TILE**2])
    return occupancy.view(-1, FINE_TILE, FINE_TILE), colors.view(FINE_TILE, FINE_TILE, -1)
