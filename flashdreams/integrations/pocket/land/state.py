"""The state of a land in cells: what is solid, of which colour, the ground, water and light sources.

Cells are half a metre. Every column of cells has 16 levels of occupancy (1 inside, -1 outside, in between by the signed
distance in half metres, so that the surface is where it is zero), colours of 8 pairs of levels, the ground's colour,
water and glow: 45 numbers, all in -1..1. The same land can be made in finer cells, see `Grid`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from flashdreams.integrations.pocket.land.parts import box_distance, round_distance

CELL = 0.5
"""Metres."""
LEVELS, PAIRS = 16, 8
HIGH = LEVELS * CELL
"""Metres: the height of the state."""
CHANNELS = LEVELS + 3 * PAIRS + 5
"""Channels of a column of cells."""
OCCUPANCY = slice(0, LEVELS)
COLOR = slice(LEVELS, LEVELS + 3 * PAIRS)
GROUND = slice(LEVELS + 3 * PAIRS, LEVELS + 3 * PAIRS + 3)
WATER, GLOW = CHANNELS - 2, CHANNELS - 1
BAND = 0.8
"""Metres from a part within which cells take its colour."""
_BUCKETS = (8, 12, 18, 28)
"""Sides in half metres of the patches in which parts are evaluated."""
_STEPS = 1023


@dataclass(frozen=True)
class Grid:
    """Sizes of cells, and the channels of a column of them. Occupancy counts half metres whatever the cells are."""

    fineness: int = 1
    """Cells in half a metre."""

    @property
    def cell(self) -> float:
        """Metres along each side of a cell."""
        return CELL / self.fineness

    @property
    def levels(self) -> int:
        """Levels of occupancy."""
        return LEVELS * self.fineness

    @property
    def pairs(self) -> int:
        """Levels of colour: one for two of occupancy."""
        return PAIRS * self.fineness

    @property
    def channels(self) -> int:
        """Channels of a column of cells."""
        return self.levels + 3 * self.pairs + 5

    @property
    def occupancy(self) -> slice:
        """Channels of occupancy."""
        return slice(0, self.levels)

    @property
    def color(self) -> slice:
        """Channels of colours: red, green and blue of one level after another."""
        return slice(self.levels, self.levels + 3 * self.pairs)

    @property
    def ground(self) -> slice:
        """Channels of the ground's colour; water and glow follow."""
        return slice(self.channels - 5, self.channels - 2)


COARSE_GRID, FINE_GRID = Grid(), Grid(2)


def solid_state(rounds: Tensor, boxes: Tensor, cells: int, grid: Grid = COARSE_GRID) -> Tensor:
    """Occupancy, colours and glow `[C, cells, cells]` (rows along z, columns along x, centred on the origin) of parts.

    C is 45 for the usual `grid`. Ground and water are left 0. `rounds [N, 17]` and `boxes [M, 24]` as in `parts`.
    """
    nearest = torch.full((grid.levels * cells * cells,), _STEPS << 16, dtype=torch.int32)
    table = torch.cat([rounds[:, 8:16], boxes[:, 15:23], torch.zeros(1, 8)])
    for rows, first, measure, x_at, z_at in (
        (rounds, 0, round_distance, 0, 1),
        (boxes, len(rounds), box_distance, 0, 2),
    ):
        for chosen, side in _by_size(rows):
            _write(nearest, rows[chosen], chosen + first, measure, x_at, z_at, side * grid.fineness, cells, grid)
    nearest = nearest.view(grid.levels, cells, cells)
    distance = (nearest >> 16).float() / _STEPS * (2 * BAND) - BAND
    part = (nearest & 0xFFFF).long()
    state = torch.zeros(grid.channels, cells, cells)
    state[grid.occupancy] = (-distance / CELL).clamp(-1, 1)
    # Of two levels, the one that lies deeper inside gives the colour.
    pair_distance, which = distance.view(grid.pairs, 2, cells, cells).min(1)
    pair_part = part.view(grid.pairs, 2, cells, cells).gather(1, which[:, None])[:, 0]
    height = (torch.arange(grid.pairs)[:, None, None] * 2 + which + 0.5) * grid.cell
    looks = table[pair_part.clamp_max(len(table) - 1)]
    period = looks[..., 6].clamp_min(0.1)
    striped = ((looks[..., 6] > 0) & ((height / period).frac() >= 0.5)).unsqueeze(-1)
    color = torch.where(striped, looks[..., 3:6], looks[..., :3]) * 2 - 1
    near = (pair_distance < BAND * 0.999).unsqueeze(-1)
    state[grid.color] = (color * near).permute(0, 3, 1, 2).flatten(0, 1)
    glows = looks[..., 7] * (pair_distance < 0.4)
    state[-1] = glows.amax(0)
    return state


def _by_size(rows: Tensor) -> list[tuple[Tensor, int]]:
    """Indices of rows by the side of the patch of cells that holds them with a band around."""
    need = (rows[:, -1] + BAND) * 2 / CELL + 1
    result, low = [], 0.0
    for side in _BUCKETS:
        last = side == _BUCKETS[-1]
        chosen = ((need > low) & ((need <= side) | last)).nonzero()[:, 0]
        if len(chosen):
            result.append((chosen, side))
        low = float(side)
    return result


def _write(
    nearest: Tensor,
    rows: Tensor,
    names: Tensor,
    measure: object,
    x_at: int,
    z_at: int,
    side: int,
    cells: int,
    grid: Grid,
) -> None:
    """Lower `nearest` (distance in steps times 65536, plus the part's name) to what `rows` bring."""
    half = cells // 2
    corner = torch.stack([rows[:, z_at], rows[:, x_at]], 1) / grid.cell + half - side / 2
    corner = corner.round().long()
    at = torch.arange(side)
    iz, ix = corner[:, 0, None] + at, corner[:, 1, None] + at
    z = ((iz.float() + 0.5 - half) * grid.cell)[:, None, :, None]
    x = ((ix.float() + 0.5 - half) * grid.cell)[:, None, None, :]
    y = ((torch.arange(grid.levels) + 0.5) * grid.cell)[None, :, None, None]
    distance = measure(rows, x, y, z)  # type: ignore[operator]
    steps = ((distance.clamp(-BAND, BAND) + BAND) * (_STEPS / (2 * BAND))).round().int()
    key = (steps << 16) | names.int()[:, None, None, None]
    inside = ((iz >= 0) & (iz < cells))[:, :, None] & ((ix >= 0) & (ix < cells))[:, None, :]
    where = iz.clamp(0, cells - 1)[:, :, None] * cells + ix.clamp(0, cells - 1)[:, None, :]
    where = where[:, None] + torch.arange(grid.levels)[None, :, None, None] * (cells * cells)
    keep = inside[:, None] & (steps < _STEPS)
    nearest.scatter_reduce_(0, where[keep], key[keep], "amin")
