"""Map of a scene from above: the ground, its limits, and its objects."""

from __future__ import annotations

from dataclasses import dataclass

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
class Plan:
    """A scene from above; x points to the right of the map, z up."""

    ground: Colour
    radius: float
    """Visitors stay within this distance of the origin, in world units."""
    things: tuple[Disc | Outline, ...]
    """The lowest first."""
    blocked: tuple[Disc, ...]
    """Areas that the camera cannot enter."""
