"""Where visitors of a land begin: at a stored place's entrance, or where a first tile has room and a way out of it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from torch import Tensor

from flashdreams.camera.poses import pose_from_yaw_pitch
from flashdreams.integrations.pocket.land.camera import EYE_HEIGHT
from flashdreams.integrations.pocket.tiles.footing import ROOM, Footing
from flashdreams.integrations.pocket.tiles.lands import Land, Spot, centre_of, spot_of
from flashdreams.integrations.pocket.tiles.store import unpacked
from flashdreams.integrations.pocket.tiles.stored import StoredPlace, stored_place

ENTRANCES = ((0, 0), (2, 0), (0, 2), (2, 2), (-2, 0), (0, -2), (4, 0), (0, 4))
"""Tiles that are tried, in this order, until one has room to stand in."""
FIRST_TILES = "The first tiles of the land"
"""Stage of getting ready, as visitors read it."""
_ASIDE, _TURNED = 0.8, 8.0
"""Metres and degrees by which the seed shifts the entrance of a stored place at most."""


def entrance_of(land: Land, tile_at: Callable[[Spot], Tensor]) -> npt.NDArray[np.float64]:
    """Return camera-to-world `[4, 4]` where a rollout of `land` begins; `tile_at` answers a packed tile."""

    def footing_at(spot: Spot) -> Footing:
        return Footing(unpacked(tile_at(spot)), centre_of(spot))

    if land.picture is not None and land.picture.is_place:
        return land.picture.pose.double().numpy()
    if land.place:
        return entrance_of_place(stored_place(land.place), land.seed, footing_at)
    return roomy_entrance(footing_at)


def entrance_of_place(place: StoredPlace, seed: int, footing_at: Callable[[Spot], Footing]) -> npt.NDArray[np.float64]:
    """At the place's entrance; the seed shifts it a little, so that no two visits begin alike."""
    x, z, yaw = place.entrance
    shift = np.random.default_rng(seed).uniform(-1, 1, 3)
    x, z = x + _ASIDE * float(shift[0]), z + _ASIDE * float(shift[1])
    footing = footing_at(spot_of(x, z))
    if footing.height(x, z) > 0:
        x, z = footing.free_near(x, z)
    return pose_from_yaw_pitch(np.array([x, -EYE_HEIGHT, z]), yaw + _TURNED * float(shift[2]), 0.0)


def roomy_entrance(footing_at: Callable[[Spot], Footing]) -> npt.NDArray[np.float64]:
    """In the middle of the first tile that has room, where the way is longest."""
    best: tuple[float, Footing, Spot] | None = None
    for spot in ENTRANCES:
        footing = footing_at(spot)
        room = float((footing.field <= 0).float().mean())
        if best is None or room > best[0]:
            best = room, footing, spot
        if room >= ROOM:
            break
    assert best is not None
    x, z = best[1].free_near(*centre_of(best[2]))
    yaw = max(range(0, 360, 30), key=lambda degrees: best[1].free_metres(x, z, math.radians(degrees)))
    return pose_from_yaw_pitch(np.array([x, -EYE_HEIGHT, z]), float(yaw), 0.0)
