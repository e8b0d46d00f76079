"""Things that move in a world without end, as rows of numbers: they belong to a rollout's state."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from flashdreams.integrations.pocket.tiles.lands import Spot

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]


class Kind(IntEnum):
    """Kinds of movers."""

    PERSON = 0
    ANIMAL = 1
    BIRD = 2
    BOAT = 3


X, Z, HEIGHT, HEADING, SPEED, TURN, CLIMB, MOVES, PHASE, PACE, HABIT, HOME_X, HOME_Z = range(13)
"""Columns of a mover: position in metres (east, north, up), heading in radians from north to east, metres a second,
radians a second, metres a second upwards, 1 while it moves and 0 while it rests, metres on its way (legs and wings
follow them), two traits between 0 and 1, and where it is at home."""
SPOT, POINT, HOME = slice(X, Z + 1), slice(X, HEIGHT + 1), slice(HOME_X, HOME_Z + 1)
"""Position on the level, position in all three, and where it is at home."""
GROUND_COLOR = slice(13, 16)
"""Colour of the ground that it keeps to, in -1..1 as in a state."""
COLUMNS = 16
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, eq=False)
class Movers:
    """All movers of a rollout at one chunk; nothing of it is ever changed in place."""

    values: Floats = field(default_factory=lambda: np.zeros((0, COLUMNS), np.float32))
    """`[N, 16]`, see the columns."""
    kinds: Integers = field(default_factory=lambda: np.zeros(0, np.int64))
    """`[N]`, see `Kind`."""
    lands: Integers = field(default_factory=lambda: np.zeros(0, np.int64))
    """`[N]`: the kind of land where each was born, in the order of `KINDS`; it decides what it looks like."""
    keys: Keys = field(default_factory=lambda: np.zeros(0, np.uint64))
    """`[N]`: who each is; its looks and its chance follow from it."""
    flocks: Keys = field(default_factory=lambda: np.zeros(0, np.uint64))
    """`[N]`: equal for those that keep together."""
    ages: Integers = field(default_factory=lambda: np.zeros(0, np.int64))
    """`[N]`: chunks since each was born."""
    spots: frozenset[Spot] = frozenset()
    """Tiles around the visitor that have got their movers."""

    def __len__(self) -> int:
        return len(self.kinds)

    def chosen(self, index: npt.NDArray[np.bool_] | Integers) -> Movers:
        """The movers of `index`, in their order."""
        return Movers(
            self.values[index], self.kinds[index], self.lands[index], self.keys[index], self.flocks[index],
            self.ages[index], self.spots,
        )  # fmt: skip

    def joined(self, others: Movers) -> Movers:
        """These and `others`."""
        values, kinds, lands, keys, flocks, ages = (
            np.concatenate([getattr(self, name), getattr(others, name)]) for name in _ROWS
        )
        return Movers(values, kinds, lands, keys, flocks, ages, self.spots)

    def same(self, others: Movers) -> bool:
        """Return True if all is equal, bit for bit."""
        return self.spots == others.spots and all(
            np.array_equal(getattr(self, name), getattr(others, name)) for name in _ROWS
        )


_ROWS = ("values", "kinds", "lands", "keys", "flocks", "ages")


def chance(keys: Keys, ages: Integers, count: int) -> npt.NDArray[np.float64]:
    """`[N, count]` numbers between 0 and 1, always the same for a key and an age (splitmix64)."""
    index = (ages[:, None] * count + np.arange(1, count + 1)).astype(np.uint64)
    x = np.asarray(keys[:, None] + index * _GOLDEN, np.uint64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x = x ^ (x >> np.uint64(31))
    return ((x >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def normal_chance(keys: Keys, ages: Integers, count: int) -> npt.NDArray[np.float64]:
    """`[N, count]` normally distributed numbers, always the same for a key and an age (Box-Muller)."""
    flat = chance(keys, ages, 2 * count)
    return np.sqrt(-2 * np.log(flat[:, :count])) * np.cos(2 * np.pi * flat[:, count:])
