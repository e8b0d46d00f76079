"""Tiles that a rollout knows at each chunk: a function of its poses alone, so that it is seen alike in every replay.

Tiles come at a fixed pace of so many chunks each, the nearest to where the visitor looks first; those under the
visitor's feet come at once. How fast a machine dreams decides how long a step waits for them, never what it shows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import numpy.typing as npt

from flashdreams.integrations.pocket.tiles.config import TILE_METRES
from flashdreams.integrations.pocket.tiles.lands import Spot, centre_of, next_missing, spot_of
from flashdreams.integrations.pocket.tiles.surroundings import REACH

PACE = 6.0
"""Chunks from one tile to the next."""
BEGINNING = 9
"""Tiles that the first picture waits for."""
NEAR = 5.0
"""Metres around the visitor within which no tile is missing."""
AHEAD = 10.0
"""Metres ahead of the visitor from which tiles are counted as near or far."""
LIFT = 9
"""Chunks in which the mist over a new tile lifts."""
KEPT = REACH + 3
"""Tiles farther from the visitor's are forgotten, and come again when they are needed."""


@dataclass
class Schedule:
    """The tiles that are there."""

    came: dict[Spot, int] = field(default_factory=dict)
    """At which chunk each tile came, in their order."""
    credit: float = BEGINNING
    """Tiles that may come now."""

    def advance(self, chunk: int, pose: npt.NDArray[np.float64], given: Set[Spot] = frozenset()) -> list[Spot]:
        """The tiles that come with `chunk`, which ends at camera-to-world `pose [4, 4]`, in their order.

        Those `given` are stored: they are there, without mist, as soon as they are near enough to be kept.
        """
        x, z = float(pose[0, 3]), float(pose[2, 3])
        here = spot_of(x, z)
        for spot in [s for s in self.came if max(abs(s[0] - here[0]), abs(s[1] - here[1])) > KEPT]:
            del self.came[spot]
        near = sorted(s for s in given if max(abs(s[0] - here[0]), abs(s[1] - here[1])) <= KEPT)
        self.came |= {spot: -LIFT for spot in near if spot not in self.came}
        new: list[Spot] = []
        there = set(self.came) | given
        for spot in self._underfoot(x, z):
            while (missing := next_missing(spot, there)) is not None:
                new.append(missing)
                there.add(missing)
        self.credit = min(self.credit, BEGINNING) - len(new)
        for missing in self._missing(pose, there) if self.credit >= 1 else ():
            self.credit -= 1
            new.append(missing)
            if self.credit < 1:
                break
        self.credit = max(self.credit, 0.0) + 1 / PACE
        # The first picture shows what it waited for; over later tiles the mist lifts.
        self.came |= dict.fromkeys(new, chunk if chunk > 0 else -LIFT)
        return new

    def upcoming(self, pose: npt.NDArray[np.float64], most: int, given: Set[Spot] = frozenset()) -> list[Spot]:
        """The tiles that come next, as far as one can tell from `pose`; then those that a tile's side on would.

        So there are always two in a row ahead: what is in sight ends after two, and the visitor goes on.
        """
        there, further = set(self.came) | given, pose.copy()
        found = list(islice(self._missing(pose, there), most))
        further[[0, 2], 3] += _level_direction(pose) * TILE_METRES
        return found + list(islice(self._missing(further, there | set(found)), most - len(found)))

    @staticmethod
    def _underfoot(x: float, z: float) -> list[Spot]:
        corners = [spot_of(x + dx, z + dz) for dx in (-NEAR, NEAR) for dz in (-NEAR, NEAR)]
        return list(dict.fromkeys([spot_of(x, z), *corners]))

    @staticmethod
    def _missing(pose: npt.NDArray[np.float64], there: set[Spot]) -> Iterator[Spot]:
        """All tiles in sight that are not `there`, and those that they need, in the order in which they come."""
        x, z = float(pose[0, 3]), float(pose[2, 3])
        forward = _level_direction(pose) * AHEAD
        here = spot_of(x, z)
        spots = [(here[0] + di, here[1] + dj) for dj in range(-REACH, REACH + 1) for di in range(-REACH, REACH + 1)]

        def distance(spot: Spot) -> tuple[float, Spot]:
            cx, cz = centre_of(spot)
            # Rounded: equal distances are then told apart by the coordinates, whatever the processor.
            return round(math.hypot(cx - x - forward[0], cz - z - forward[1]) / TILE_METRES, 3), spot

        there = set(there)
        for spot in sorted(spots, key=distance):
            while (missing := next_missing(spot, there)) is not None:
                yield missing
                there.add(missing)


def _level_direction(pose: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """East and north, together of length 1, of the way that a camera looks."""
    forward = pose[[0, 2], 2]
    return np.asarray(forward / max(float(np.hypot(*forward)), 1e-6))
