"""Ground without steps at tile borders: the difference to the neighbours is spread over a tile as a harmonic field.

This is gradient-domain blending (Pérez, Gangnet, Blake: Poisson Image Editing, 2003) with the tile's own gradient.
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

_SIDES = ((-1, 0), (1, 0), (0, -1), (0, 1))
"""Row and column steps to the neighbours, in the order of the border's values."""


def blend_ground(window: Tensor, mask: Tensor) -> Tensor:
    """Return the tile `[45, 32, 32]` in the middle of `window [45, 48, 48]`, its ground continuous with what is known.

    Args:
        window: a finished state, with the neighbours' own cells where `mask [1, 48, 48]` is 1.

    A tile of which a side is unknown is returned as it is.
    """
    tile = window[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
    near, middle = (MARGIN - 1, MARGIN + TILE), slice(MARGIN, MARGIN + TILE)
    if not all(mask[0, at, middle].all() and mask[0, middle, at].all() for at in near):
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
