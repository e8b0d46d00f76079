"""Things around a visitor in fine cells, in 8 bits, read at single points by interpolation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.integrations.pocket.land.state import FINE_GRID, HIGH
from flashdreams.integrations.pocket.tiles.edits import Edits
from flashdreams.integrations.pocket.tiles.lands import Spot, centre_of
from flashdreams.integrations.pocket.tiles.refinement import FINE_TILE, things_of
from flashdreams.integrations.pocket.tiles.store import unpacked

_UP_LAST = torch.tensor([0, 2, 1])
"""Rows of east, up and north in the order of a volume's axes."""


@dataclass(frozen=True)
class FineThings:
    """Occupancy and colours of fine cells around a centre."""

    solid: Tensor
    """`[1, 1, 32, H, H]`: occupancy; levels, rows along z, columns along x."""
    colors: Tensor
    """`[H, H, 48]` in 8 bits: red, green and blue of 16 levels."""
    centre: tuple[float, float]
    """x and z of the middle, in metres."""

    @classmethod
    def around(cls, tiles: Mapping[Spot, bytes], middle: Spot, reach: int, edits: Edits) -> FineThings:
        """Of `refined` tiles within `reach` of `middle`, with a visitor's `edits`; where none is there is air."""
        side, centre = (2 * reach + 1) * FINE_TILE, centre_of(middle)
        solid = torch.full((FINE_GRID.levels, side, side), -1.0)
        colors = torch.zeros(side, side, 3 * FINE_GRID.pairs, dtype=torch.int8)
        made = cls(solid[None, None], colors, centre)
        made.put(tiles, middle, reach)
        edits.apply_to_fine(solid, colors, centre)
        return made

    def put(self, tiles: Mapping[Spot, bytes], middle: Spot, reach: int) -> None:
        """Enter `refined` tiles within `reach` of the `middle`, in place."""
        for (i, j), tile in tiles.items():
            row, column = (j - middle[1] + reach) * FINE_TILE, (i - middle[0] + reach) * FINE_TILE
            rows, columns = slice(row, row + FINE_TILE), slice(column, column + FINE_TILE)
            solid, self.colors[rows, columns] = things_of(tile)
            torch.mul(solid, 1 / 127, out=self.solid[0, 0, :, rows, columns])

    @classmethod
    def of(cls, things: Tensor, centre: tuple[float, float]) -> FineThings:
        """Of `things [80, H, H]`, as `packed` makes them."""
        levels = FINE_GRID.levels
        return cls(unpacked(things[None, None, :levels]), things[levels:].permute(1, 2, 0).contiguous(), centre)

    def occupancy(self, points: Tensor) -> Tensor:
        """`[R]` at `points [3, R]`: above 0 inside; in half metres."""
        return self.occupancy_at(self.spots(points, 1.0))

    def spots(self, vectors: Tensor, whole: float) -> Tensor:
        """`vectors [3, R]` in the volume's own units, east, north and up: points if `whole` is 1, directions if 0."""
        scale, shift = self._units
        found = vectors.index_select(0, _UP_LAST).mul_(scale)
        return found.sub_(shift, alpha=whole) if whole else found

    @cached_property
    def _units(self) -> tuple[Tensor, Tensor]:
        """Factors of metres in the volume's own units, and what is taken off for the middle, `[3, 1]` each."""
        reach = self.solid.shape[-1] * FINE_GRID.cell / 2
        scale, (x, z) = torch.tensor([1 / reach, 1 / reach, 2 / HIGH]), self.centre
        return scale[:, None], torch.tensor([x / reach, z / reach, 1.0])[:, None]

    def occupancy_at(self, spots: Tensor) -> Tensor:
        """`[R]` at `spots [3, R]`."""
        return F.grid_sample(
            self.solid, spots.T[None, None, None], padding_mode="border", align_corners=False
        ).flatten()

    def color(self, points: Tensor) -> Tensor:
        """`[3, R]` in -1..1 at `points [3, R]`."""
        index, parts = self._corners(points)
        index = index[..., None, :] + torch.arange(3, dtype=torch.int32)[:, None]
        read = self.colors.flatten().index_select(0, index.flatten()).view(index.shape)
        return _mixed(read.float(), parts) * (1 / 127)

    def slope(self, points: Tensor, step: float) -> Tensor:
        """Differences `[3, R]` of the occupancy so many metres to both sides of `points [3, R]`."""
        shifts = torch.cat([torch.eye(3), -torch.eye(3)]) * step
        value = self.occupancy((points[:, None] + shifts.T[:, :, None]).flatten(1)).unflatten(0, (2, 3, -1))
        return value[1] - value[0]

    def _corners(self, points: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Indices `[2, 2, 2, R]` of the colours around points (along z, x and up), and the parts of the way."""
        side, levels = self.colors.shape[0], FINE_GRID.pairs
        x, z = (
            ((points[axis] - at) * (1 / FINE_GRID.cell) + (side / 2 - 0.5)).clamp(0, side - 1.001)
            for axis, at in zip((0, 2), self.centre, strict=True)
        )
        y = (points[1] * (levels / HIGH) - 0.5).clamp(0, levels - 1.001)
        x0, y0, z0 = x.floor(), y.floor(), z.floor()
        base = ((z0.int() * side + x0.int()) * levels + y0.int()) * 3
        away = [3 * ((dz * side + dx) * levels + dy) for dz in (0, 1) for dx in (0, 1) for dy in (0, 1)]
        return base + torch.tensor(away, dtype=torch.int32).view(2, 2, 2, 1), (z - z0, x - x0, y - y0)


def _mixed(corners: Tensor, parts: tuple[Tensor, ...]) -> Tensor:
    """Interpolate `corners [2, 2, 2, ..., R]` along z, x and up."""
    along_z, along_x, up = parts
    value = torch.lerp(corners[:, :, 0], corners[:, :, 1], up)
    value = torch.lerp(value[:, 0], value[:, 1], along_x)
    return torch.lerp(value[0], value[1], along_z)
