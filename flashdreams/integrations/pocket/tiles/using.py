"""Finds things of a state that can be opened or pushed, by geometry alone: flat walls, and things that are small.

All positions are in cells of a state `[45, H, H]`: (row, column), rows along z.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.integrations.pocket.land.state import CELL, OCCUPANCY, WATER

Place = tuple[float, float]
"""Row and column, or a direction along both."""
DOOR_LEVELS = 4
"""Levels that a doorway is high: two metres."""
HALF_DOOR = 0.75
"""Metres on each side of a doorway's middle."""
THRESHOLD = 1.5
"""Metres that a doorway goes into something thick; behind it lies a room."""
THICKEST = 3.0
"""Metres of the thickest wall that is opened to its other side."""
ROOM_REACH = 4.5
"""Metres from the doorway's outer end to the end of a room."""
LARGEST = 6
"""Cells along each side of the largest thing that can be pushed."""
HIGHEST_PUSHED = 4
"""Levels of the highest thing that can be pushed."""
_LOW_WALL = 2
"""Levels of the lowest wall."""
_FLAT = (-1.0, -0.5, 0.0, 0.5, 1.0)
"""Metres beside the middle of a doorway at which a wall must go on."""
_WALL = 0.0
"""Occupancy of cells whose middle is inside a thing."""
_SEEN = -0.2
"""Occupancy from which a cell is seen as solid, as in `sight`."""
_TOUCHED = -0.5
"""Occupancy from which a cell belongs to a thing, as in `edits`."""


class Push(NamedTuple):
    """An attempt to push a thing."""

    rows: int = 0
    columns: int = 0
    """Cells by which it moves along z and along x."""
    hindrance: str | None = None
    """A sentence where it stays."""


def doorway(state: Tensor, hit: tuple[int, int], facing: Place) -> Tensor | None:
    """Return the cells `[16, H, H]` that a doorway at the outside cell `hit` of a wall empties; None without a wall.

    A wall is flat, two metres wide and at least one high. A thin one is opened to its other side; into a thick one
    leads a doorway, and behind it a room, where the walls and the ceiling around it stay.
    """
    inward = _inward(state, hit, facing)
    if inward is None:
        return None
    along, aside = _coordinates(state, hit, inward)
    solid = state[OCCUPANCY] > _WALL
    height = _wall_height(solid, hit, inward)
    if height < _LOW_WALL:
        return None
    levels = solid.shape[0] if height < DOOR_LEVELS else DOOR_LEVELS
    depth = _thickness(solid, hit, inward)
    thin = depth <= THICKEST
    way = (aside.abs() <= HALF_DOOR) & (along >= -1.0) & (along <= (depth + 1.0 if thin else THRESHOLD))
    opened = way if thin else way | _room(solid, way, along, aside)
    cells = torch.zeros_like(solid)
    cells[:levels] = opened
    return cells


def push(state: Tensor, thing: Tensor, facing: Place) -> Push:
    """Return how the thing of `state` with the cells `thing [16, H, H]` moves by a push to where one faces."""
    others = (state[OCCUPANCY] > _TOUCHED) & ~thing
    thing = thing & (state[OCCUPANCY] > _SEEN)
    if not bool(thing.any()):
        return Push(hindrance="It does not move.")
    levels, rows, columns = (thing.any(axes).nonzero().flatten() for axes in (((1, 2)), ((0, 2)), ((0, 1))))
    extents = [int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1]
    if max(extents) > LARGEST or int(levels.max()) >= HIGHEST_PUSHED:
        return Push(hindrance="It is too heavy to push.")
    down, right = (round(part / max(math.hypot(*facing), 1e-9)) for part in _eighth(facing))
    there = torch.roll(thing, (down, right), (1, 2))
    if bool((there & others).any()):
        return Push(hindrance="Something is in its way.")
    wet, base, next_base = state[WATER] > 0, thing[:2].any(0), there[:2].any(0)
    floats = bool(wet[base].float().mean() > 0.5) if bool(base.any()) else False
    if bool((wet[next_base] != floats).any()) and bool(next_base.any()):
        return Push(hindrance="It stays in the water." if floats else "It stays on dry land.")
    return Push(down, right)


def _eighth(facing: Place) -> Place:
    """Return the nearest of the eight directions between cells, with parts of -1, 0 and 1 times its length."""
    length, angle = math.hypot(*facing), round(math.atan2(facing[0], facing[1]) / (math.pi / 4)) * math.pi / 4
    return tuple(length * round(part) for part in (math.sin(angle), math.cos(angle)))  # type: ignore[return-value]


def _inward(state: Tensor, hit: tuple[int, int], facing: Place) -> Place | None:
    """Return the direction straight into the surface at `hit`; None where a visitor looks along it."""
    field = F.avg_pool2d(state[OCCUPANCY][1:DOOR_LEVELS].mean(0)[None, None], 3, 1, 1)[0, 0]
    row, column = hit
    if not (1 <= row < field.shape[0] - 1 and 1 <= column < field.shape[1] - 1):
        return None
    slope = (
        float(field[row + 1, column] - field[row - 1, column]),
        float(field[row, column + 1] - field[row, column - 1]),
    )
    steep, ahead = math.hypot(*slope), math.hypot(*facing)
    if steep < 1e-3 or (slope[0] * facing[0] + slope[1] * facing[1]) < 0.5 * steep * ahead:
        return None
    return slope[0] / steep, slope[1] / steep


def _coordinates(state: Tensor, hit: tuple[int, int], inward: Place) -> tuple[Tensor, Tensor]:
    """Metres of every cell from `hit` into the wall, and beside that line."""
    rows = (torch.arange(state.shape[1]) - hit[0])[:, None] * CELL
    columns = (torch.arange(state.shape[2]) - hit[1])[None, :] * CELL
    return rows * inward[0] + columns * inward[1], rows * inward[1] - columns * inward[0]


def _column(solid: Tensor, hit: tuple[int, int], inward: Place, along: float, aside: float) -> Tensor:
    """Levels `[16]` of solid cells so many metres into the wall and beside its middle; none beyond the state."""
    row = round(hit[0] + (along * inward[0] + aside * inward[1]) / CELL)
    column = round(hit[1] + (along * inward[1] - aside * inward[0]) / CELL)
    if not (0 <= row < solid.shape[1] and 0 <= column < solid.shape[2]):
        return torch.zeros(solid.shape[0], dtype=torch.bool)
    return solid[:, row, column]


def _wall_height(solid: Tensor, hit: tuple[int, int], inward: Place) -> int:
    """Return the levels that a flat wall is high, as far as a doorway goes; 0 where there is none."""
    height = DOOR_LEVELS
    for aside in _FLAT:
        if bool(_column(solid, hit, inward, -0.9, aside)[:DOOR_LEVELS].any()):
            return 0
        column = max(
            (_column(solid, hit, inward, into, aside)[:DOOR_LEVELS] for into in (0.3, 0.6)), key=lambda c: int(c.sum())
        )
        height = min(height, next((level for level in range(DOOR_LEVELS) if not column[level]), DOOR_LEVELS))
    return height


def _thickness(solid: Tensor, hit: tuple[int, int], inward: Place) -> float:
    """Return the metres from `hit` to the other side of a wall, infinite where it is not near."""
    for step in range(2, round(THICKEST / (CELL / 2)) + 1):
        along = step * CELL / 2
        if not bool(_column(solid, hit, inward, along, 0.0)[1:3].any()):
            return along
    return math.inf


def _room(solid: Tensor, way: Tensor, along: Tensor, aside: Tensor) -> Tensor:
    """Return the columns `[H, H]` behind a doorway that have a ceiling and are not the outermost of a thing."""
    whole = solid[: DOOR_LEVELS + 1].all(0).float()
    inner = -F.max_pool2d(-whole[None], 3, 1, 1)[0] > 0
    inner &= (along > 0) & (along <= ROOM_REACH) & (aside.abs() <= ROOM_REACH / 2)
    found = way & inner
    while True:
        grown = inner & (F.max_pool2d(found[None].float(), 3, 1, 1)[0] > 0)
        if torch.equal(grown, found):
            return found
        found = grown
