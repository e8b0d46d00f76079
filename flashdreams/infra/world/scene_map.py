"""Map of a scene from above: the ground, its limits, and its objects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Colour = tuple[float, float, float]
"""Red, green and blue in display space, 0 to 1."""


@dataclass(frozen=True)
class Disc:
    """Something round, by its outline from above, in world units."""

    x: float
    z: float
    radius: float
    colour: Colour


@dataclass(frozen=True)
class Outline:
    """Something with corners `(x, z)`, in their order around it, in world units."""

    corners: tuple[tuple[float, float], ...]
    colour: Colour


@dataclass(frozen=True)
class Aerial:
    """A square of the land from above as a picture, as far as it is known."""

    x: float
    z: float
    """Its middle, in world units."""
    side: float
    """In world units."""
    pixels: npt.NDArray[np.uint8]
    """Red, green, blue and opacity `[N, N, 4]`, the row of the largest z first; opacity 0 where nothing is known."""


@dataclass(frozen=True)
class Plan:
    """A scene from above; x points to the right of the map, z up."""

    ground: Colour
    radius: float | None
    """Visitors stay within this distance of the origin, in world units; None: they may go anywhere."""
    things: tuple[Disc | Outline, ...]
    """The lowest first."""
    blocked: tuple[Disc, ...]
    """Areas that the camera cannot enter."""
    aerial: Aerial | None = None
    """The land below all of these."""
