"""Ground that a visitor may stand on: collisions from the solidity of a state."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.integrations.pocket.land.state import CELL, LEVELS, OCCUPANCY, WATER
from flashdreams.integrations.pocket.tiles.config import TILE_METRES

Ground = tuple[float, float]
"""x and z in metres."""
_LOWEST, _COUNT = 1, 3
"""Levels that stop a visitor: from half a metre above the feet, above flowers, to two metres, below branches."""
HIGHEST = LEVELS - _LOWEST - _COUNT
"""Levels that the feet may be high at most for the ones above to be looked at."""
_TOP = -0.2
"""Occupancy of a surface to stand on, as `sight` sees it."""
_STEP = 0.5
"""Metres above the feet up to which a visitor in the air still gets on top of something."""
_NEAR = -0.55
"""Occupancy that a visitor may not pass: about a quarter of a metre from a surface."""
_WET = 0.0
ROOM = 0.3
"""Share of a tile that can be walked on, from which it is an entrance."""
_LEVEL = 1e-4
"""Difference of barriers that counts as none: inside of a thing they are equal but for rounding."""


def barrier(state: Tensor, raised: int = 0) -> Tensor:
    """`[H, H]`: above 0 where a visitor may not be whose feet are `raised` levels high, for `state [45, H, H]`."""
    levels = state[OCCUPANCY][_LOWEST + raised : _LOWEST + raised + _COUNT]
    return torch.maximum(levels.amax(0) - _NEAR, state[WATER] - _WET)


def floor_below(column: Tensor, feet: float) -> float:
    """Return the height in metres on which a visitor with `feet` so high comes down, of a `column [16]` of levels.

    It is 0 on the ground, and on what is less than half a metre high.
    """
    floor = 0.0
    for level in range(1, min(int((feet + _STEP) / CELL) + 1, len(column) - 1)):
        here, above = float(column[level]), float(column[level + 1])
        top = (level + 0.5 + (here - _TOP) / max(here - above, 1e-6)) * CELL
        if here > _TOP >= above and top <= feet + _STEP:
            floor = top
    return floor


class Footing:
    """The walkable part of a state centred on `centre` (x and z in metres)."""

    def __init__(self, state: Tensor, centre: tuple[float, float], raised: int = 0) -> None:
        self.field, self.centre = barrier(state, raised), centre
        self._rows: list[list[float]] = self.field.tolist()
        self.reach = state.shape[-1] * CELL / 2

    def height(self, x: float, z: float) -> float:
        """The barrier at a spot; above 0 it cannot be entered."""
        last = len(self._rows) - 1
        # A camera asks for few single spots: numbers of Python's own are read sooner than a tensor.
        row, column = (
            min(max((at - middle + self.reach) / CELL - 0.5, 0.0), last)
            for at, middle in ((z, self.centre[1]), (x, self.centre[0]))
        )
        j, i = min(int(row), last - 1), min(int(column), last - 1)
        below, right = row - j, column - i
        near, far = (each[i] + (each[i + 1] - each[i]) * right for each in self._rows[j : j + 2])
        return near + (far - near) * below

    def slide(self, before: Ground, wanted: Ground) -> Ground:
        """Return the position of a visitor who goes from `before` to `wanted`, see `slide`."""
        return slide(self.height, before, wanted)

    def free_metres(self, x: float, z: float, yaw: float) -> float:
        """Return the distance that one can walk from (x, z) at an angle of `yaw` radians, within a tile."""
        for step in range(1, 32):
            reach = step * 0.5
            there = x + reach * math.sin(yaw), z + reach * math.cos(yaw)
            if max(abs(there[0] - self.centre[0]), abs(there[1] - self.centre[1])) > TILE_METRES / 2:
                return reach + 0.5  # the way goes on
            if self.height(*there) > 0:
                return reach
        return reach

    def free_near(self, x: float, z: float) -> tuple[float, float]:
        """The spot nearest to (x, z) where a visitor may stand, with some room around it."""
        room = F.max_pool2d(self.field[None, None], 5, 1, 2)[0, 0]
        rows, columns = (room < 0).nonzero(as_tuple=True)
        if not len(rows):
            return x, z
        spots = torch.stack([columns, rows], 1).float() * CELL + CELL / 2 - self.reach + torch.tensor(self.centre)
        best = spots[(spots - torch.tensor([x, z])).square().sum(1).argmin()]
        return float(best[0]), float(best[1])


def slide(height: Callable[[float, float], float], before: Ground, wanted: Ground) -> Ground:
    """Return where a visitor from `before` to `wanted` gets: along what is in the way, never further in.

    A visitor around whom something was put up, or closed, walks out of it in any direction.
    """
    there, here = height(*wanted), height(*before)
    if there <= 0 or there < here or (here > 0 and there <= here + _LEVEL):
        return wanted
    for x, z in ((wanted[0], before[1]), (before[0], wanted[1])):
        if height(x, z) <= 0:
            return x, z
    return before
