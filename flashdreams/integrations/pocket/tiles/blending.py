"""Land without steps at tile borders: differences to the neighbours are spread over a finished tile.

Those of the ground over all of it, as a harmonic field: this is gradient-domain blending (Pérez, Gangnet, Blake:
Poisson Image Editing, 2003) with the tile's own gradient. Those of all else over the first few cells.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.integrations.pocket.land.state import GROUND
from flashdreams.integrations.pocket.tiles.config import MARGIN, TILE

SMOOTHED = 5
"""Cells along a border over which a difference is averaged, so that ground texture takes no part in it."""

SPREAD = (0.3, 0.2, 0.1)
"""Share of the step across a border that is taken over into the first, second and third cell of a tile.

A part of the step is the land's own: the mean one across borders becomes that between other cells, not nothing."""

_SIDES = ((-1, 0), (1, 0), (0, -1), (0, 1))
"""Row and column steps to the neighbours, in the order of the border's values."""
_NEAR, _MIDDLE = (MARGIN - 1, MARGIN + TILE), slice(MARGIN, MARGIN + TILE)
"""Rows or columns of a window that touch its tile, and those of the tile."""


def blend(window: Tensor, mask: Tensor) -> Tensor:
    """Return the tile `[45, 32, 32]` in the middle of `window [45, 48, 48]`, continuous with what is known.

    Args:
        window: a finished state, with the neighbours' own cells where `mask [1, 48, 48]` is 1.

    A tile of which a side is unknown is returned as it is.
    """
    return _blend_edges(blend_ground(window, mask), window, mask)


def blend_ground(window: Tensor, mask: Tensor) -> Tensor:
    """Return the tile in the middle of `window`, see `blend`, its ground continuous with what is known."""
    tile = window[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
    near, middle = _NEAR, _MIDDLE
    if not _surrounded(mask):
        return tile
    ground = window[GROUND]
    differences = [ground[:, near[0], middle] - ground[:, MARGIN, middle]]
    differences.append(ground[:, near[1], middle] - ground[:, MARGIN + TILE - 1, middle])
    differences.append(ground[:, middle, near[0]] - ground[:, middle, MARGIN])
    differences.append(ground[:, middle, near[1]] - ground[:, middle, MARGIN + TILE - 1])
    reach = SMOOTHED // 2
    border = F.avg_pool1d(F.pad(torch.stack(differences), (reach, reach), mode="replicate"), SMOOTHED, 1)
    field = border.transpose(0, 1).flatten(1) @ _harmonic(TILE).T
    blended = tile.clone()
    blended[GROUND] += field.view(-1, TILE, TILE)
    return blended


def _blend_edges(tile: Tensor, window: Tensor, mask: Tensor) -> Tensor:
    """Return `tile [45, 32, 32]` with parts of the steps across its borders in the cells along them.

    Solid things too: occupancy is a distance, so a crown that is cut becomes one that tapers off.
    """
    if not _surrounded(mask):
        return tile
    before, after = _NEAR
    share = F.pad(torch.tensor(SPREAD), (0, TILE - len(SPREAD)))
    down, across = share[:, None], share
    return (
        tile
        + down * (window[:, before, _MIDDLE] - tile[:, 0])[:, None]
        + down.flip(0) * (window[:, after, _MIDDLE] - tile[:, -1])[:, None]
        + across * (window[:, _MIDDLE, before] - tile[:, :, 0])[:, :, None]
        + across.flip(0) * (window[:, _MIDDLE, after] - tile[:, :, -1])[:, :, None]
    )


def _surrounded(mask: Tensor) -> bool:
    """Return True if all four sides of the tile in the middle are known."""
    return all(bool(mask[0, at, _MIDDLE].all() and mask[0, _MIDDLE, at].all()) for at in _NEAR)


@lru_cache(maxsize=2)
def _harmonic(size: int) -> Tensor:
    """Return `[size^2, 4 size]`: the solution of Laplace's equation on a square from its values around the border."""
    laplacian, border = 4 * np.eye(size * size), np.zeros((size * size, 4 * size))
    for row in range(size):
        for column in range(size):
            cell = row * size + column
            for side, (down, right) in enumerate(_SIDES):
                i, j = row + down, column + right
                if 0 <= i < size and 0 <= j < size:
                    laplacian[cell, i * size + j] = -1
                else:
                    border[cell, side * size + (column if down else row)] = 1
    return torch.from_numpy(np.linalg.solve(laplacian, border)).float()
