"""A picture to begin with, as a key that travels in lands: what it shows where, its kind of land, style and light."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.integrations.pocket.land.camera import camera_pose
from flashdreams.integrations.pocket.land.kinds import KINDS
from flashdreams.integrations.pocket.land.light import Light, light_at
from flashdreams.integrations.pocket.land.state import CHANNELS, OCCUPANCY
from flashdreams.integrations.pocket.tiles.config import MARGIN, TILE
from flashdreams.integrations.pocket.tiles.observation import COLUMNS, EYE, ROWS, Observation, Sights, observed

DISTANCES = 24
"""Distances that it tells apart, evenly spaced in their logarithm."""
NEAREST, FARTHEST = 0.7, 48.0
"""Metres of the first and of the last of them."""
SPOT_BYTES = 7
"""Numbers of 8 bits kept of each spot of a picture taken as a place."""
LIKENESS = 15.0
"""Decibels from which a picture drawn of what was read agrees well enough for a place."""
EXPLAINED = 0.3
"""Share of the picture's variance that must be explained by it, too."""
MAIN_KIND = 0.2
"""Weight from which a kind of land in the picture goes on beyond it."""
_NEAR, _FAR = 30.0, 62.0
"""Metres from the camera up to which the land is as in the picture, and from which it is as in any world."""


@dataclass(frozen=True)
class Picture:
    """Place, or colours and light, that a world takes from a picture."""

    kinds: tuple[float, ...]
    """Weights of the kinds of land."""
    attributes: tuple[float, ...]
    style: tuple[float, ...]
    hour: float
    clouds: float
    haze: float
    heading: float
    """Radians: where the sun stands at noon, the camera looking north."""
    pitch: float
    sights: bytes = b""
    """Things, ground, distances, colours and water by spots, 8 bits each; empty where it is no place."""

    @property
    def is_place(self) -> bool:
        """True if things stand where the picture shows them; else it is taken as colours and light."""
        return bool(self.sights)

    @property
    def notice(self) -> str:
        """Return a sentence that says as which it was taken."""
        if self.is_place:
            return "The picture is taken as a place: things stand where it shows them."
        return "The picture is taken as colours and light: it shows no land of this world."

    @property
    def names(self) -> tuple[str, ...]:
        """The kinds of land in it."""
        return tuple(name for name, weight in zip(KINDS, self.kinds, strict=True) if weight >= MAIN_KIND)

    @property
    def pose(self) -> Tensor:
        """Camera-to-world `[4, 4]` of the camera that took it."""
        return camera_pose(*EYE, 0.0, self.pitch)

    def spots(self) -> Sights:
        """Return what it shows where."""
        return _unpacked(self.sights, self.pitch)

    def with_spots(self, sights: Sights) -> Picture:
        """Return this picture with other things, ground, colours and water."""
        low, high = distances()[0].log(), distances()[-1].log()
        place = (sights.distance.log() - low) / (high - low)
        maps = [sights.share, place[None], sights.color * 0.5 + 0.5, sights.water[None] * 0.5 + 0.5]
        return replace(self, sights=packed_spots(torch.cat(maps)))

    def observed(self, spot: tuple[int, int]) -> Observation | None:
        """Return what it tells of the window around tile `spot`; None if nothing."""
        return observed(self.spots(), spot) if self.is_place else None

    def mixture(self, weights: np.ndarray, points: np.ndarray) -> np.ndarray:
        """`weights [7, ...]` of the kinds at `points [..., 2]`, with its own near the beginning."""
        return _beside(np.array(self.kinds), weights, points)

    def amounts(self, amounts: np.ndarray, points: np.ndarray) -> np.ndarray:
        """`amounts [6, ...]` of the attributes at `points [..., 2]`, with its own near the beginning."""
        return _beside(np.array(self.attributes), amounts, points)

    def light(self) -> Light:
        """Return its light."""
        return light_at(self.hour, heading=self.heading, clouds=self.clouds, haze=self.haze)

    def state(self) -> Tensor:
        """`[45, 160, 160]` around the first tile: what it tells of the land, and nothing where it tells nothing."""
        empty = torch.zeros(CHANNELS, TILE, TILE)
        empty[OCCUPANCY] = -1.0
        rows = []
        for j in range(-2, 3):
            row = []
            for i in range(-2, 3):
                found = self.observed((i, j))
                inner = slice(MARGIN, MARGIN + TILE)
                row.append(empty if found is None else found.imposed(F.pad(empty, [MARGIN] * 4))[:, inner, inner])
            rows.append(torch.cat(row, 2))
        return torch.cat(rows, 1)


def distances() -> Tensor:
    """`[24]`: metres."""
    return torch.logspace(0, 1, DISTANCES, base=FARTHEST / NEAREST) * NEAREST


def bearing(hour: float) -> float:
    """Return the radians from where the sun stands at noon to where the light comes from at `hour`, clockwise."""
    east, _, north = light_at(hour).sun_dir
    return math.atan2(east, north)


def likeness(picture: Tensor, drawn: Tensor) -> tuple[float, float]:
    """Return decibels by which `drawn [3, H, W]` agrees with `picture`, and the share of its variance explained."""
    error = float((picture - drawn).square().mean())
    spread = float((picture - picture.mean((1, 2), keepdim=True)).square().mean())
    return -10 * math.log10(max(error, 1e-10)), 1 - error / max(spread, 1e-10)


def is_alike(picture: Tensor, drawn: Tensor) -> bool:
    """Return True if `drawn`, the picture drawn of what was read, says that it was understood as a place."""
    decibels, explained = likeness(picture, drawn)
    return decibels >= LIKENESS and explained >= EXPLAINED


def _beside(own: np.ndarray, usual: np.ndarray, points: np.ndarray) -> np.ndarray:
    away = np.hypot(points[..., 0] - EYE[0], points[..., 1] - EYE[1])
    share = np.clip((_FAR - away) / (_FAR - _NEAR), 0, 1)
    return usual + (own.reshape(-1, *[1] * away.ndim) - usual) * share


def packed_spots(maps: Tensor) -> bytes:
    """Return `maps [7, 36, 64]` of 0 to 1 as `Picture.sights` holds them."""
    assert maps.shape == (SPOT_BYTES, ROWS, COLUMNS)
    return (maps.clamp(0, 1) * 255).round().byte().numpy().tobytes()


@lru_cache(maxsize=8)
def _unpacked(sights: bytes, pitch: float) -> Sights:
    maps = torch.frombuffer(bytearray(sights), dtype=torch.uint8).view(SPOT_BYTES, ROWS, COLUMNS).float() / 255
    low, high = distances()[0].log(), distances()[-1].log()
    return Sights(maps[:2], (low + (high - low) * maps[2]).exp(), maps[3:6] * 2 - 1, maps[6] * 2 - 1, pitch)
