"""Tiles that a rollout knows at each chunk: a function of its poses alone, so that it is seen alike in every replay.

Tiles come at a fixed pace of so many chunks each, the nearest to where the visitor looks and goes first; those under
the visitor's feet come at once. Which ones come next is decided some tiles before, so that a visitor who turns need not
wait for a tile that was not asked for until then. How fast a machine dreams decides how long a step waits, never what
it shows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import numpy.typing as npt

from flashdreams.integrations.pocket.scenes.movement import FPS, MOVE_SPEED
from flashdreams.integrations.pocket.tiles.config import TILE_METRES
from flashdreams.integrations.pocket.tiles.lands import Spot, centre_of, next_missing, spot_of
from flashdreams.integrations.pocket.tiles.surroundings import REACH

Floats = npt.NDArray[np.float64]
Poses = Floats
"""Camera-to-world poses `[F, 4, 4]`."""

PACE = 6.0
"""Chunks from one tile to the next."""
BEGINNING = 9
"""Tiles that the first picture waits for at least."""
NEAR = 5.0
"""Metres around the visitor within which no tile is missing."""
AHEAD = 12.0
"""Metres ahead of the visitor from which tiles are counted as near or far."""
GOING = 3.0
"""Seconds of the visitor's present motion by which that spot is farther on."""
DECIDED = 2
"""Tiles that are decided on before they come."""
IN_A_ROW = 2
"""Tiles in a row ahead that there are to be at least."""
HEAD_START = 9.0
"""Metres ahead of the visitor's first spot from which these are counted in the first picture: while they are walked,
the next row is dreamed."""
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
    decided: list[Spot] = field(default_factory=list)
    """The tiles that come next, in their order."""

    def copy(self) -> Schedule:
        """A schedule that goes on from the same state; later chunks of one do not touch the other."""
        return Schedule(dict(self.came), self.credit, list(self.decided))

    def advance(self, chunk: int, poses: Poses, given: Set[Spot] = frozenset()) -> list[Spot]:
        """The tiles that come with `chunk`, of camera-to-world `poses [F, 4, 4]`, in their order.

        Those `given` are stored: they are there, without mist, as soon as they are near enough to be kept.
        """
        here = spot_of(*_position(poses[-1]))
        for spot in [s for s in self.came if _tiles_between(s, here) > KEPT]:
            del self.came[spot]
        near = sorted(s for s in given if _tiles_between(s, here) <= KEPT)
        self.came |= {spot: -LIFT for spot in near if spot not in self.came}
        there, at_once = set(self.came) | given, self._underfoot(poses[-1])
        if chunk == 0 and self.credit >= 1:
            at_once += _in_a_row(_moved(poses[-1], _level_direction(poses[-1]) * HEAD_START), IN_A_ROW)
        new = list(_needed(at_once, there))
        there.update(new)
        self.credit = min(self.credit, BEGINNING) - len(new)
        if any(_tiles_between(spot, here) > KEPT for spot in self.decided):
            self.decided = []
        self._decide(poses, there)
        while self.credit >= 1 and self.decided:
            self.credit -= 1
            new.append(self.decided.pop(0))
            there.add(new[-1])
            self._decide(poses, there)
        self.credit = max(self.credit, 0.0) + 1 / PACE
        # The first picture shows what it waited for; over later tiles the mist lifts.
        self.came |= dict.fromkeys(new, chunk if chunk > 0 else -LIFT)
        return new

    def _decide(self, poses: Poses, there: set[Spot]) -> None:
        """Have `DECIDED` tiles decided on that are not `there`, as far as there are any."""
        self.decided = [spot for spot in self.decided if spot not in there]
        if (open_places := DECIDED - len(self.decided)) > 0:
            self.decided += islice(self._missing(poses, there | set(self.decided)), open_places)

    def upcoming(self, poses: Poses, most: int, given: Set[Spot] = frozenset()) -> list[Spot]:
        """The tiles to dream ahead, at most so many, as far as one can tell from `poses`, in this order.

        First those that come next; then those in a row ahead and where the visitor will be soon; then all in the order
        in which they come, here and a tile's side on. So there are two in a row ahead of the next tile too.
        """
        there, pose = set(self.came) | given, poses[-1]
        found = [spot for spot in self.decided if spot not in there]
        soon = self._underfoot(_moved(pose, _velocity(poses) * GOING))
        found += _needed([*_in_a_row(pose, IN_A_ROW + 1), *soon], there | set(found))
        for view in (poses, _moved(poses, _level_direction(pose) * TILE_METRES)):
            found += islice(self._missing(view, there | set(found)), max(most - len(found), 0))
        return found[:most]

    @staticmethod
    def _underfoot(pose: Floats) -> list[Spot]:
        x, z = _position(pose)
        corners = [spot_of(x + dx, z + dz) for dx in (-NEAR, NEAR) for dz in (-NEAR, NEAR)]
        return list(dict.fromkeys([spot_of(x, z), *corners]))

    @staticmethod
    def _missing(poses: Poses, there: set[Spot]) -> Iterator[Spot]:
        """All tiles in sight that are not `there`, and those that they need, in the order in which they come."""
        position = poses[-1, [0, 2], 3]
        x, z = position + _level_direction(poses[-1]) * AHEAD + _velocity(poses) * GOING
        here = spot_of(*position.tolist())
        spots = [(here[0] + di, here[1] + dj) for dj in range(-REACH, REACH + 1) for di in range(-REACH, REACH + 1)]

        def distance(spot: Spot) -> tuple[float, Spot]:
            cx, cz = centre_of(spot)
            # Rounded: equal distances are then told apart by the coordinates, whatever the processor.
            return round(math.hypot(cx - x, cz - z) / TILE_METRES, 3), spot

        return _needed(sorted(spots, key=distance), there)


def _needed(spots: Iterable[Spot], there: Set[Spot]) -> Iterator[Spot]:
    """Yield those of `spots` that are not `there`, each after all that it is dreamed from."""
    known = set(there)
    for spot in spots:
        while (missing := next_missing(spot, known)) is not None:
            yield missing
            known.add(missing)


def _position(pose: Floats) -> tuple[float, float]:
    return float(pose[0, 3]), float(pose[2, 3])


def _tiles_between(spot: Spot, here: Spot) -> int:
    return max(abs(spot[0] - here[0]), abs(spot[1] - here[1]))


def _moved(poses: Poses, away: Floats) -> Poses:
    """Return `poses [..., 4, 4]` so many metres farther east and north."""
    result = poses.copy()
    result[..., [0, 2], 3] += away
    return result


def _in_a_row(pose: Floats, count: int) -> list[Spot]:
    """Return the tile of a camera, and `count` more in the way that it looks."""
    (x, z), (east, north) = _position(pose), _level_direction(pose) * TILE_METRES
    return [spot_of(x + ahead * east, z + ahead * north) for ahead in range(count + 1)]


def _velocity(poses: Poses) -> Floats:
    """East and north in metres a second, at most as fast as a visitor walks."""
    if len(poses) < 2:
        return np.zeros(2)
    velocity = (poses[-1, [0, 2], 3] - poses[0, [0, 2], 3]) * (FPS / (len(poses) - 1))
    return np.asarray(velocity * min(1.0, MOVE_SPEED / max(float(np.hypot(*velocity)), 1e-6)))


def _level_direction(pose: Floats) -> Floats:
    """East and north, together of length 1, of the way that a camera looks."""
    forward = pose[[0, 2], 2]
    return np.asarray(forward / max(float(np.hypot(*forward)), 1e-6))
