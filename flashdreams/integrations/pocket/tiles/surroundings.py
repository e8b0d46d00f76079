"""The tiles around a visitor as one state, with what follows from it: shadows, lamps, where one may stand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from flashdreams.integrations.pocket.land.camera import EYE_HEIGHT
from flashdreams.integrations.pocket.land.light import Light
from flashdreams.integrations.pocket.land.maps import lamp_light, sun_shadow
from flashdreams.integrations.pocket.land.state import CELL
from flashdreams.integrations.pocket.movers.senses import Ground, land_fields
from flashdreams.integrations.pocket.tiles.config import TILE
from flashdreams.integrations.pocket.tiles.edits import Edits
from flashdreams.integrations.pocket.tiles.fine import FineThings
from flashdreams.integrations.pocket.tiles.footing import HIGHEST, Footing, slide
from flashdreams.integrations.pocket.tiles.lands import Spot, centre_of, spot_of
from flashdreams.integrations.pocket.tiles.sight import LocalState
from flashdreams.integrations.pocket.tiles.store import assembled, unpacked

Floats = npt.NDArray[np.float64]

REACH = 2
"""Tiles that are seen on each side of the visitor's."""
SHADOW_HOURS = 1 / 30
"""Hours of the world after which shadows are computed again."""


@dataclass(frozen=True)
class Surroundings:
    """A function of the tiles that are there, the visitor's tile and the light: nothing of it need be saved."""

    middle: Spot
    spots: frozenset[Spot]
    """The tiles that were there."""
    edits: Edits
    """The visitor's changes of them."""
    shadow_light: Light
    place: LocalState
    ground: Ground
    """The same land as movers meet it."""

    @classmethod
    def of(
        cls,
        tiles: Mapping[Spot, Tensor],
        edits: Edits,
        middle: Spot,
        light: Light,
        shadow_light: Light,
        before: Surroundings | None,
        things: Callable[[Spot], bytes] | None = None,
    ) -> Surroundings:
        """Made of the packed `tiles` in sight and their `edits`, with as much as can be of those `before`.

        `things` answers the same tiles refined; None without a refinement.
        """
        spots = frozenset(tiles)
        if before is None or (before.middle, before.spots) != (middle, spots) or before.edits is not edits:
            centre = centre_of(middle)
            state = edits.applied(assembled(tiles, middle, REACH), centre)
            shadow, lamps = sun_shadow(state, shadow_light.sun_dir), lamp_light(state)
            fine = None
            if things is not None:
                fine = _fine_things(things, spots, edits, middle, before)
            place = LocalState(state, centre, shadow, lamps, light, fine)
            return cls(middle, spots, edits, shadow_light, place, ground_of(state, spots, middle))
        place = before.place
        if before.shadow_light.sun_dir != shadow_light.sun_dir:
            place = replace(place, shadow=sun_shadow(place.state, shadow_light.sun_dir))
        return cls(middle, spots, edits, shadow_light, replace(place, light=light), before.ground)


def _fine_things(
    things: Callable[[Spot], bytes], spots: Set[Spot], edits: Edits, middle: Spot, before: Surroundings | None
) -> FineThings:
    """Return the fine `things` of tiles `spots`: those `before`, with what is new, where only tiles have come since."""
    known = None if before is None or before.middle != middle or before.edits is not edits else before.place.fine
    if before is not None and known is not None and before.spots <= spots and not edits.records:
        known.put({spot: things(spot) for spot in spots - before.spots}, middle, REACH)
        return known
    return FineThings.around({spot: things(spot) for spot in spots}, middle, REACH, edits)


def ground_of(state: Tensor, spots: Set[Spot], middle: Spot) -> Ground:
    """Return the `state` around tile `middle` as movers meet it; where no tile of `spots` is, nobody may go."""
    fields, side = land_fields(state), 2 * REACH + 1
    for row in range(side):
        for column in range(side):
            if (middle[0] + column - REACH, middle[1] + row - REACH) not in spots:
                fields[:2, row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE] = 1.0
    return Ground(fields[None], torch.tensor([centre_of(middle)]))


def in_sight(spots: Iterable[Spot], middle: Spot) -> list[Spot]:
    """Return the `spots` that are seen from tile `middle`."""
    return [s for s in spots if max(abs(s[0] - middle[0]), abs(s[1] - middle[1])) <= REACH]


def clearness(came: Mapping[Spot, int], middle: Spot, now: int, chunks: int) -> Tensor:
    """`[n, n]`: how far the mist over each tile around `middle` has lifted, `chunks` after it came; 0 to 1."""
    steps = range(-REACH, REACH + 1)
    never = now + 1
    return torch.tensor(
        [[min((now - came.get((middle[0] + i, middle[1] + j), never) + 1) / chunks, 1.0) for i in steps] for j in steps]
    )


class Barriers:
    """Collisions, tile by tile: the same wherever a visitor came from."""

    def __init__(
        self,
        tile_at: Callable[[Spot], Tensor | None],
        edits: Callable[[], Edits],
        feet: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`tile_at` answers the packed tile of a spot, or None where nothing is known: there one may go.

        `edits` answers the changes of the land by now, and `feet` the height of the visitor's in metres.
        """
        self._tile_at, self._edits, self._feet = tile_at, edits, feet
        self._known = edits()
        self._footings: dict[tuple[Spot, int], Footing] = {}

    def height(self, x: float, z: float) -> float:
        """The barrier at a position in metres; above 0 it cannot be entered."""
        spot, edits = spot_of(x, z), self._edits()
        if edits is not self._known:
            self._known = edits
            self._footings.clear()
        key = spot, min(int(self._feet() / CELL), HIGHEST)
        if key not in self._footings:
            tile = self._tile_at(spot)
            if tile is None:
                return -1.0
            if len(self._footings) > 64:
                self._footings.clear()
            centre = centre_of(spot)
            self._footings[key] = Footing(edits.applied(unpacked(tile), centre), centre, key[1])
        return self._footings[key].height(x, z)

    def constrain(self, previous: Floats, wanted: Floats) -> Floats:
        """Return where a camera from `previous` to `wanted`, both `[3]`, gets: on the ground, around things."""
        x, z = slide(self.height, (float(previous[0]), float(previous[2])), (float(wanted[0]), float(wanted[2])))
        return np.array([x, -EYE_HEIGHT, z])
