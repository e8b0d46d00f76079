"""Ground that a visitor may stand on: collisions from the solidity of a state."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.integrations.pocket.land.state import CELL, WATER

Ground = tuple[float, float]
"""x and z in metres."""
_LEVELS = slice(1, 4)
"""Levels that stop a visitor: from half a metre, above flowers, to two metres, below branches."""
_NEAR = -0.55
"""Occupancy that a visitor may not pass: about a quarter of a metre from a surface."""
_WET = 0.0


def barrier(state: Tensor) -> Tensor:
    """`[H, H]`: above 0 where a visitor may not be, for `state [45, H, H]`."""
    return torch.maximum(state[_LEVELS].amax(0) - _NEAR, state[WATER] - _WET)


class Footing:
    """The walkable part of a state centred on `centre` (x and z in metres)."""

    def __init__(self, state: Tensor, centre: tuple[float, float]) -> None:
        self.field, self.centre = barrier(state), centre
        self.reach = state.shape[-1] * CELL / 2

    def height(self, x: float, z: float) -> float:
        """The barrier at a spot; above 0 it cannot be entered."""
        at = torch.tensor([(x - self.centre[0]) / self.reach, (z - self.centre[1]) / self.reach]).view(1, 1, 1, 2)
        return float(F.grid_sample(self.field[None, None], at, padding_mode="border", align_corners=False))

    def slide(self, before: Ground, wanted: Ground) -> Ground:
        """Return the position of a visitor who goes from `before` to `wanted`, see `slide`."""
        return slide(self.height, before, wanted)

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
    """Return where a visitor from `before` to `wanted` gets: along what is in the way, never further in."""
    there = height(*wanted)
    if there <= 0 or there < height(*before):
        return wanted
    for x, z in ((wanted[0], before[1]), (before[0], wanted[1])):
        if height(x, z) <= 0:
            return x, z
    return before
