"""Which movers a tile brings: a function of the world's seed, the tile's coordinates and what the tile holds."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.integrations.pocket.land.kinds import KINDS, PALETTES, STYLE, Palette, ramp
from flashdreams.integrations.pocket.land.state import CELL
from flashdreams.integrations.pocket.movers.senses import CRUISE, land_fields
from flashdreams.integrations.pocket.movers.state import COLUMNS, Kind, Movers
from flashdreams.integrations.pocket.tiles.lands import Spot, centre_of

PERSONS = {"meadow": 0.5, "forest": 0.3, "desert": 0.35, "town": 1.5, "snow": 0.45, "coast": 0.6, "garden": 0.9}
"""People on a tile of each kind of land, on average."""
ANIMALS = {"meadow": 1.1, "forest": 0.6, "desert": 0.45, "town": 0.2, "snow": 0.5, "coast": 0.15, "garden": 0.3}
FLOCKS = {"meadow": 0.2, "forest": 0.25, "desert": 0.12, "town": 0.2, "snow": 0.15, "coast": 0.4, "garden": 0.25}
"""Flocks of birds over a tile, on average."""
BOATS = 0.7
"""Probability of a boat on a tile whose water has room for one, and of another where there is room for more."""
CIRCLE, LEVEL = (7.0, 6.0), (4.5, 3.5)
"""Metres of the circles on which birds fly, and of their height over the ground: at habit 0, and more up to habit 1."""
_BOAT_CELLS = (20, 200)
_ROOM = 3
"""Cells along each side that must be free where a walker begins."""
_WAY_CELLS = 6
"""Cells of a way from which on people begin there."""

Cells = npt.NDArray[np.int64]


class Births:
    """The movers of one tile, kind by kind."""

    def __init__(self, seed: int, spot: Spot, state: Tensor, land: str, style: Tensor) -> None:
        digest = hashlib.sha256(f"{seed} movers {spot[0]} {spot[1]}".encode()).digest()
        self._root = int.from_bytes(digest[:8], "big")
        self._rng = np.random.default_rng(self._root)
        self._land, self._middle = land, centre_of(spot)
        fields = land_fields(state)
        self._colors = fields[2:5].numpy()
        self._dry = F.max_pool2d(fields[None, :1], _ROOM, 1, _ROOM // 2)[0, 0].numpy() < 0
        self._wet = fields[1].numpy() < 0
        self._ways = self._dry & self._is_way(PALETTES[land], style)
        self._rows: list[list[float]] = []
        self._kinds: list[Kind] = []
        self._flocks: list[int] = []

    def all(self) -> Movers:
        """All of them, in a fixed order."""
        rng = self._rng
        persons, animals, flocks = (int(rng.poisson(rate[self._land])) for rate in (PERSONS, ANIMALS, FLOCKS))
        self._walkers(Kind.PERSON, min(persons, 3), self._ways if self._ways.sum() >= _WAY_CELLS else self._dry)
        self._walkers(Kind.ANIMAL, min(animals, 3), self._dry)
        for cells in _BOAT_CELLS:
            if self._wet.sum() >= cells and rng.random() < BOATS:
                self._ground(Kind.BOAT, self._wet)
        for _ in range(min(flocks, 1)):
            self._flock(int(rng.integers(2, 6)))
        count = len(self._kinds)
        keys = np.array([(self._root + 1 + index) % 2**64 for index in range(count)], np.uint64)
        flocked = np.array([(self._root - 1 - f) % 2**64 for f in self._flocks], np.uint64)
        return Movers(
            values=np.array(self._rows, np.float32).reshape(-1, COLUMNS),
            kinds=np.array(self._kinds, np.int64).reshape(-1),
            lands=np.full(count, KINDS.index(self._land), np.int64),
            keys=keys,
            flocks=flocked,
            ages=np.zeros(count, np.int64),
        )

    def _is_way(self, palette: Palette, style: Tensor) -> npt.NDArray[np.bool_]:
        """Cells whose colour is nearer to that of ways than to the ground's."""
        rows = ((palette.path, "path"), (palette.ground, "ground"), (palette.patch, "ground"))
        looks = [np.array(ramp(row, float(style[STYLE.index(name)])), np.float32) * 2 - 1 for row, name in rows]
        way, *others = (np.square(self._colors - look[:, None, None]).sum(0) for look in looks)
        return (way < 0.08) & (way < 0.5 * np.minimum(*others))

    def _walkers(self, kind: Kind, count: int, where: npt.NDArray[np.bool_]) -> None:
        for _ in range(count):
            self._ground(kind, where)

    def _ground(self, kind: Kind, where: npt.NDArray[np.bool_]) -> None:
        """One mover on a random cell of `where`, if there is one."""
        rows, columns = np.nonzero(where)
        if not len(rows):
            return
        k = int(self._rng.integers(len(rows)))
        side = where.shape[0] * CELL / 2
        x, z = (columns[k] + 0.5) * CELL - side + self._middle[0], (rows[k] + 0.5) * CELL - side + self._middle[1]
        heading, pace, habit = self._rng.uniform(-math.pi, math.pi), *self._rng.uniform(0, 1, 2)
        speed = CRUISE[kind] * (1 + 0.6 * pace)
        color = self._colors[:, rows[k], columns[k]]
        phase = self._rng.uniform(0, 8)
        self._add(kind, [x, z, 0, heading, speed, 0, 0, 1, phase, pace, habit, x, z, *color], len(self._kinds))

    def _flock(self, count: int) -> None:
        """Birds that circle together about the middle of the tile."""
        rng, name = self._rng, len(self._kinds)
        habit, begin = rng.uniform(0, 1), rng.uniform(-math.pi, math.pi)
        radius = CIRCLE[0] + CIRCLE[1] * habit
        for index in range(count):
            angle = begin + 0.3 * index + rng.uniform(-0.1, 0.1)
            away = radius + rng.uniform(-1.5, 1.5)
            x, z = self._middle[0] + away * math.sin(angle), self._middle[1] + away * math.cos(angle)
            pace = rng.uniform(0, 1)
            height = LEVEL[0] + LEVEL[1] * habit + rng.uniform(-0.7, 0.7)
            speed, phase = CRUISE[Kind.BIRD] * (1 + 0.6 * pace), rng.uniform(0, 8)
            heading = (angle + math.pi / 2 + math.pi) % (2 * math.pi) - math.pi
            row = [x, z, height, heading, speed, speed / radius, 0, 1, phase, pace, habit, *self._middle, 0, 0, 0]
            self._add(Kind.BIRD, row, name)

    def _add(self, kind: Kind, row: list[float], flock: int) -> None:
        self._kinds.append(kind)
        self._rows.append(row)
        self._flocks.append(flock)


def region_movers(seed: int, state: Tensor, mixture: Tensor, style: Tensor, tile: int) -> Movers:
    """The movers of a square region around the origin, as its `tile x tile` parts bring them."""
    side = state.shape[-1] // tile
    found = Movers()
    for j in range(side):
        for i in range(side):
            rows, columns = slice(j * tile, (j + 1) * tile), slice(i * tile, (i + 1) * tile)
            land = KINDS[int(mixture[:, rows, columns].mean((1, 2)).argmax())]
            spot = (i - side // 2, j - side // 2)
            found = found.joined(Births(seed, spot, state[:, rows, columns], land, style).all())
    return replace(found, spots=frozenset())


def stacked(groups: list[Movers], most: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Values `[R, most, 16]`, kinds, flocks and 1 where there is a mover, `[R, most]` each, of several groups."""
    values, kinds = torch.zeros(len(groups), most, COLUMNS), torch.zeros(len(groups), most, dtype=torch.long)
    flocks, there = torch.zeros(len(groups), most, dtype=torch.long), torch.zeros(len(groups), most)
    for row, movers in enumerate(groups):
        count = min(len(movers), most)
        values[row, :count] = torch.from_numpy(movers.values[:count])
        kinds[row, :count] = torch.from_numpy(movers.kinds[:count])
        flocks[row, :count] = torch.from_numpy(movers.flocks[:count].view(np.int64))
        flocks[row, count:] = torch.arange(count, most)
        there[row, :count] = 1
    return values, kinds, flocks, there
