"""Changes that a visitor makes to a land: things put up or taken away, as small records, applied to its state.

A state with its changes is a function of the state without them and of the records, cell by cell: tiles stay as they
were dreamed, and any part of the land can be read with its changes.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from flashdreams.integrations.pocket.land.kinds import KINDS, STYLE
from flashdreams.integrations.pocket.land.state import (
    CELL,
    CHANNELS,
    COARSE_GRID,
    COLOR,
    FINE_GRID,
    GLOW,
    LEVELS,
    OCCUPANCY,
    Grid,
    solid_state,
)
from flashdreams.integrations.pocket.land.things import Builder
from flashdreams.integrations.pocket.tiles.plan import WorldPlan
from flashdreams.integrations.pocket.tiles.refinement import enlarged

Kind = Literal["tree", "lamp", "rock", "house", "moved", "removal", "opening", "darkness"]
"""Things that can be put up; one pushed to here; a removal of what stands there; a doorway; a lamp switched off."""

MAX_EDITS = 128
"""Changes that a world keeps; the oldest is undone by one more."""
MAX_THING_BYTES = 4096
"""Bytes of a thing that was pushed, as `pack_thing` makes them."""
SIDE = 24
"""Cells along each side of what one change can touch."""
SOLID = -0.5
"""Occupancy from which a cell belongs to a thing."""
EMPTYING = ("removal", "opening")
"""Kinds of changes that empty cells."""
_DARK = 1.5
"""Metres around a lamp that is switched off within which nothing glows."""
_THING_CHANNELS = (*range(OCCUPANCY.start, COLOR.stop), GLOW)
"""Channels of a state that belong to a thing: not the ground, not water."""


@dataclass(frozen=True)
class Edit:
    """One change of a land. Raises ValueError naming the field that is wrong."""

    kind: Kind
    x: float
    """Metres eastward."""
    z: float
    """Metres northward."""
    land: str = KINDS[0]
    """Kind of land there, which decides what a tree is."""
    cells: bytes = b""
    """Of a removal or a doorway: the cells that become empty, as packed bits `[16, SIDE, SIDE]` around (x, z)."""
    thing: bytes = b""
    """Of what was pushed: how it looks, as `pack_thing` makes it."""
    chunk: int = 0
    """Chunk in which it was made, of the rollout of who made it."""
    by: int = field(default=0, compare=False)
    """Number of the visitor who made it; 0: the rollout's own."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind must be one of {', '.join(get_args(Kind))}, got {self.kind!r:.40}")
        for name, value in (("x", self.x), ("z", self.z)):
            if not math.isfinite(value):
                raise ValueError(f"{name} must be a finite number of metres, got {value}")
        if self.land not in KINDS:
            raise ValueError(f"land must be one of {', '.join(KINDS)}, got {self.land!r:.40}")
        wanted = LEVELS * SIDE * SIDE // 8 if self.kind in EMPTYING else 0
        if len(self.cells) != wanted:
            raise ValueError(f"cells must be {wanted} bytes for kind {self.kind}, got {len(self.cells)}")
        if self.kind == "moved":
            _unpack_thing(self.thing)
        elif self.thing:
            raise ValueError(f"thing must be empty for kind {self.kind}, got {len(self.thing)} bytes")

    @property
    def corner(self) -> tuple[int, int]:
        """The first row (along z) and column (along x) of the cells that it touches, counted from the origin."""
        return round(self.z / CELL) - SIDE // 2, round(self.x / CELL) - SIDE // 2

    @property
    def middle(self) -> tuple[float, float]:
        """x and z of the middle of the cells that it touches."""
        row, column = self.corner
        return (column + SIDE // 2) * CELL, (row + SIDE // 2) * CELL

    def covers(self, x: float, z: float, seed: int) -> bool:
        """Return True if it is a thing that stands at a position of the world of `seed`."""
        row, column = (math.floor(at / CELL) - first for at, first in zip((z, x), self.corner, strict=True))
        if not self.is_thing or not (0 <= row < SIDE and 0 <= column < SIDE):
            return False
        return bool(stamp(self, seed)[OCCUPANCY, row, column].max() > SOLID)

    def empties(self, x: float, z: float) -> bool:
        """Return True if it empties cells at a position, or beside it."""
        row, column = (math.floor(at / CELL) - first for at, first in zip((z, x), self.corner, strict=True))
        if self.kind not in EMPTYING or not (0 <= row < SIDE and 0 <= column < SIDE):
            return False
        rows, columns = (slice(max(at - 1, 0), at + 2) for at in (row, column))
        return bool(_cells(self.cells)[:, rows, columns].any())

    @property
    def is_thing(self) -> bool:
        """True if something stands there by it."""
        return self.kind in THINGS or self.kind == "moved"


@dataclass(frozen=True)
class Edits:
    """The changes of the world of a seed, in their order."""

    seed: int
    records: tuple[Edit, ...] = ()

    def with_one_more(self, edit: Edit) -> Edits:
        """These changes and `edit`; beyond `MAX_EDITS` without the oldest of the visitor who has most of them."""
        return Edits(self.seed, _bounded([*self.records, edit]))

    def without(self, edit: Edit) -> Edits:
        """All of these but `edit`."""
        return Edits(self.seed, tuple(each for each in self.records if each != edit))

    def followed(self, changes: Iterable[tuple[Edit, int | None]]) -> Edits:
        """These after changes by others: each is put in at a position, or taken out where that is None."""
        records = list(self.records)
        for edit, at in changes:
            records = [each for each in records if each != edit]
            if at is not None:
                records.insert(at, edit)
        return Edits(self.seed, _bounded(records))

    def applied(self, state: Tensor, centre: tuple[float, float]) -> Tensor:
        """Return `state [45, H, H]`, centred on `centre` (x and z in metres), with the changes there.

        It is the same tensor where there are none.
        """
        size = state.shape[-1]
        row, column = (round(centre[axis] / CELL) - size // 2 for axis in (1, 0))
        changed = state
        for edit in self.records:
            top, left = edit.corner[0] - row, edit.corner[1] - column
            if not (-SIDE < top < size and -SIDE < left < size):
                continue
            if changed is state:
                changed = state.clone()
            rows, columns = (slice(max(first, 0), min(first + SIDE, size)) for first in (top, left))
            own_rows, own_columns = (
                slice(at.start - first, at.stop - first) for at, first in ((rows, top), (columns, left))
            )
            part = changed[:, rows, columns]
            if edit.kind in EMPTYING:
                _clear(part, _cells(edit.cells)[:, own_rows, own_columns])
            elif edit.kind == "darkness":
                part[GLOW].masked_fill_(_disc(edit)[own_rows, own_columns], 0.0)
            else:
                _merge(part, stamp(edit, self.seed)[:, own_rows, own_columns])
        return changed

    def apply_to_fine(self, solid: Tensor, colors: Tensor, centre: tuple[float, float]) -> None:
        """Change things in fine cells: `solid [32, H, H]`, and `colors [H, H, 48]` in 8 bits, centred on `centre`."""
        size, side, times = solid.shape[-1], SIDE * FINE_GRID.fineness, FINE_GRID.fineness
        row, column = (round(centre[axis] / FINE_GRID.cell) - size // 2 for axis in (1, 0))
        for edit in self.records:
            top, left = edit.corner[0] * times - row, edit.corner[1] * times - column
            if edit.kind == "darkness" or not (-side < top < size and -side < left < size):
                continue
            rows, columns = (slice(max(first, 0), min(first + side, size)) for first in (top, left))
            own_rows, own_columns = (
                slice(at.start - first, at.stop - first) for at, first in ((rows, top), (columns, left))
            )
            part = torch.cat([solid[:, rows, columns], colors[rows, columns].permute(2, 0, 1).float() / 127])
            if edit.kind in EMPTYING:
                cells = _cells(edit.cells)
                for axis in range(3):
                    cells = cells.repeat_interleave(times, axis)
                _clear_things(part, cells[:, own_rows, own_columns], FINE_GRID)
            else:
                _merge_things(part, stamp(edit, self.seed, FINE_GRID)[:, own_rows, own_columns], FINE_GRID)
            solid[:, rows, columns] = part[FINE_GRID.occupancy]
            colors[rows, columns] = (part[FINE_GRID.color] * 127).round().to(torch.int8).permute(1, 2, 0)


def _bounded(records: list[Edit]) -> tuple[Edit, ...]:
    while len(records) > MAX_EDITS:
        counts = Counter(each.by for each in records)
        most = max(counts, key=lambda by: (counts[by], -by))
        records.remove(next(each for each in records if each.by == most))
    return tuple(records)


def bits(cells: Tensor) -> bytes:
    """`cells [16, SIDE, SIDE]`, True where a removal empties them, as `Edit.cells` holds them."""
    return np.packbits(cells.numpy()).tobytes()


def pack_thing(state: Tensor) -> bytes:
    """The thing of `state [45, SIDE, SIDE]` alone, as `Edit.thing` holds it: 8 bits a number, compressed."""
    numbers = (state[list(_THING_CHANNELS)].clamp(-1, 1) * 127).round().to(torch.int8)
    return zlib.compress(numbers.numpy().tobytes(), 9)


def _unpack_thing(thing: bytes) -> Tensor:
    """`[41, SIDE, SIDE]` of what `pack_thing` made. Raises ValueError for anything else."""
    wanted, reader = len(_THING_CHANNELS) * SIDE * SIDE, zlib.decompressobj()
    try:
        numbers = reader.decompress(thing, wanted) if len(thing) <= MAX_THING_BYTES else b""
    except zlib.error:
        numbers = b""
    if len(numbers) != wanted or reader.decompress(reader.unconsumed_tail, 1) or not reader.eof:
        raise ValueError(
            f"thing must be a packed thing of at most {MAX_THING_BYTES} bytes, got {len(thing)} bytes that are none"
        )
    return torch.frombuffer(bytearray(numbers), dtype=torch.int8).view(-1, SIDE, SIDE).float() / 127


def _moved(thing: bytes, grid: Grid) -> Tensor:
    coarse = torch.zeros(CHANNELS, SIDE, SIDE)
    coarse[list(_THING_CHANNELS)] = _unpack_thing(thing)
    if grid == COARSE_GRID:
        return coarse
    fine = torch.zeros(grid.channels, SIDE * grid.fineness, SIDE * grid.fineness)
    fine[: grid.color.stop] = enlarged(coarse[None])[0]
    return fine


@lru_cache(maxsize=MAX_EDITS)
def _cells(cells: bytes) -> Tensor:
    unpacked = np.unpackbits(np.frombuffer(cells, np.uint8)).astype(bool)
    return torch.from_numpy(unpacked).view(LEVELS, SIDE, SIDE)


def _disc(edit: Edit) -> Tensor:
    """`[SIDE, SIDE]`: True around the lamp of a darkness."""
    z, x = (
        (torch.arange(SIDE) + 0.5 + first) * CELL - at for first, at in zip(edit.corner, (edit.z, edit.x), strict=True)
    )
    return z[:, None] ** 2 + x**2 < _DARK**2


def _clear(part: Tensor, cells: Tensor) -> None:
    """Empty `cells [16, h, w]` of `part [45, h, w]`, and what has no solid cell left loses its colour and glow."""
    _clear_things(part, cells, COARSE_GRID)
    part[GLOW].masked_fill_(cells.any(0) & (part[OCCUPANCY].amax(0) <= SOLID), 0.0)


def _clear_things(part: Tensor, cells: Tensor, grid: Grid) -> None:
    occupancy, color = part[grid.occupancy], part[grid.color].view(grid.pairs, 3, *part.shape[1:])
    occupancy.masked_fill_(cells, -1.0)
    bare = cells.view(grid.pairs, 2, *cells.shape[1:]).any(1)
    bare &= occupancy.view(grid.pairs, 2, *cells.shape[1:]).amax(1) <= SOLID
    color.masked_fill_(bare[:, None], 0.0)


def _merge(part: Tensor, stamp: Tensor) -> None:
    """Put the thing of `stamp [45, h, w]` into `part [45, h, w]`: what lies deeper inside gives the colour."""
    _merge_things(part, stamp, COARSE_GRID)
    part[GLOW] = torch.maximum(part[GLOW], stamp[GLOW])


def _merge_things(part: Tensor, stamp: Tensor, grid: Grid) -> None:
    here, there = (each[grid.occupancy].unflatten(0, (grid.pairs, 2)).amax(1) for each in (part, stamp))
    there_color = stamp[grid.color].unflatten(0, (grid.pairs, 3))
    here = torch.where(here < -0.9, -1.0, here)  # dreamed air is not quite -1
    wins = (there_color != 0).any(1) & (there >= here)
    color = part[grid.color].unflatten(0, (grid.pairs, 3))
    part[grid.color] = torch.where(wins[:, None], there_color, color).flatten(0, 1)
    part[grid.occupancy] = torch.maximum(part[grid.occupancy], stamp[grid.occupancy])


class Thing(NamedTuple):
    """Way in which a thing is put up."""

    title: str
    distance: float
    """Metres in front of the visitor."""
    room: float
    """Metres around its middle that must be free."""


THINGS: dict[str, Thing] = {
    "tree": Thing("a tree", 4.0, 0.6),
    "lamp": Thing("a lamp", 4.0, 0.6),
    "rock": Thing("a rock", 3.5, 0.9),
    "house": Thing("a house", 6.5, 2.6),
}


@lru_cache(maxsize=MAX_EDITS)
def stamp(edit: Edit, seed: int, grid: Grid = COARSE_GRID) -> Tensor:
    """`[C, n, n]`, SIDE half metres wide: the thing alone, of the parts that things of its kind of land have."""
    if edit.kind == "moved":
        return _moved(edit.thing, grid)
    row, column = edit.corner
    rng = np.random.default_rng([43, seed, row % 2**32, column % 2**32])
    build = Builder(rng, dict(zip(STYLE, WorldPlan(seed).style.tolist(), strict=True)))
    x, z = edit.x - (column + SIDE // 2) * CELL, edit.z - (row + SIDE // 2) * CELL
    size = float(rng.uniform(0.85, 1.15))
    if edit.kind == "house":
        build.house(edit.land, x, z, float(rng.uniform(0, math.pi)), size)
    else:
        make = {"tree": _TREES[edit.land], "lamp": Builder.lamp, "rock": Builder.rock}[edit.kind]
        make(build, edit.land, x, z, size)
    return solid_state(*build.parts.tables(), SIDE * grid.fineness, grid)


_TREES = {
    "meadow": Builder.tree, "forest": Builder.pine, "desert": Builder.cactus, "town": Builder.tree,
    "snow": Builder.pine, "coast": Builder.palm, "garden": Builder.tree,
}  # fmt: skip
