"""Masks of known neighbours of a tile: tiles come in three classes, and each is given only the classes before it."""

from __future__ import annotations

from collections.abc import Set

import torch
from torch import Tensor

from flashdreams.integrations.pocket.tiles.config import MARGIN, TILE, WINDOW

CLASSES = 3
_ORDER = {(0, 0): 0, (1, 1): 1, (1, 0): 2, (0, 1): 2}
_AROUND = tuple((di, dj) for dj in (-1, 0, 1) for di in (-1, 0, 1) if (di, dj) != (0, 0))
_EARLIER = {
    (i, j): tuple((di, dj) for di, dj in _AROUND if _ORDER[(i + di) % 2, (j + dj) % 2] < own)
    for (i, j), own in _ORDER.items()
}
"""Steps to the neighbours of classes before a tile's own, by the parity of its coordinates."""


def class_of(i: int, j: int) -> int:
    """The class of tile (i, j): 0 is dreamed from nothing, 1 from four corners, 2 from all four sides."""
    return _ORDER[i % 2, j % 2]


def known_neighbours(i: int, j: int, stored: Set[tuple[int, int]] = frozenset()) -> list[tuple[int, int]]:
    """The neighbours of tile (i, j) that it is dreamed from, in a fixed order; those that are `stored` always."""
    earlier = _EARLIER[i % 2, j % 2]
    if not stored:
        return [(i + di, j + dj) for di, dj in earlier]
    return [spot for di, dj in _AROUND if (spot := (i + di, j + dj)) in stored or (di, dj) in earlier]


def edge(step: int) -> tuple[slice, slice]:
    """Locate a neighbour `step` (-1, 0, 1) tiles away: cells of the window, and cells of the neighbour's tile."""
    if step < 0:
        return slice(0, MARGIN), slice(TILE - MARGIN, TILE)
    if step > 0:
        return slice(MARGIN + TILE, WINDOW), slice(0, MARGIN)
    return slice(MARGIN, MARGIN + TILE), slice(0, TILE)


def class_mask(tile_class: int) -> Tensor:
    """`[1, 48, 48]`: 1 where a tile of this class knows its window (rows along z, columns along x)."""
    i, j = next(spot for spot, order in _ORDER.items() if order == tile_class)
    mask = torch.zeros(1, WINDOW, WINDOW)
    for ni, nj in known_neighbours(i, j):
        mask[:, edge(nj - j)[0], edge(ni - i)[0]] = 1
    return mask
