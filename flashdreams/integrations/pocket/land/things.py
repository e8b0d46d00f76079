"""Things that stand in a land, each a few parts: trees, houses, towers, rocks and what belongs to one kind of land."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from flashdreams.integrations.pocket.land.kinds import PALETTES, STYLE, Color, ramp
from flashdreams.integrations.pocket.land.parts import Parts, jittered

_PANE: Color = (0.30, 0.38, 0.48)
_DOOR: Color = (0.34, 0.20, 0.13)
_WHITE: Color = (0.96, 0.96, 0.94)


@dataclass
class Builder:
    """Builds things of any kind of land in the style of one world."""

    rng: np.random.Generator
    style: dict[str, float]
    parts: Parts = field(default_factory=Parts)

    def color(self, kind: str, part: str, spread: float = 0.12) -> Color:
        """A colour for `part` of a thing in land `kind`, near to the world's style."""
        row = STYLE[0] if part == "leaf" else part
        at = self.style[row if row in self.style else "accent"] + self.rng.normal(0, spread)
        return jittered(self.rng, ramp(getattr(PALETTES[kind], part), at), 0.04)

    def tree(self, kind: str, x: float, z: float, size: float) -> None:
        """A round-headed tree."""
        leaf, trunk = self.color(kind, "leaf"), PALETTES[kind].trunk
        self.parts.column(x, z, 0.2 * size, 0.0, 1.7 * size, trunk)
        self.parts.ellipsoid(x, z, 2.5 * size, 1.25 * size, 1.3 * size, leaf)
        if self.rng.random() < 0.4:
            a = self.rng.uniform(0, 2 * math.pi)
            dx, dz = 0.8 * size * math.cos(a), 0.8 * size * math.sin(a)
            self.parts.ellipsoid(x + dx, z + dz, 2.1 * size, 0.85 * size, 0.8 * size, jittered(self.rng, leaf))

    def pine(self, kind: str, x: float, z: float, size: float) -> None:
        """A pine of two or three cones; white at the top in the snow."""
        leaf = self.color(kind, "leaf")
        top = _WHITE if kind == "snow" and self.rng.random() < 0.75 else jittered(self.rng, leaf)
        self.parts.column(x, z, 0.2 * size, 0.0, 0.9 * size, (0.32, 0.22, 0.16))
        self.parts.cone(x, z, 1.35 * size, 0.7 * size, 2.9 * size, leaf)
        self.parts.cone(x, z, 1.05 * size, 1.7 * size, 3.8 * size, leaf if self.rng.random() < 0.5 else top)
        self.parts.cone(x, z, 0.75 * size, 2.8 * size, 4.7 * size, top)

    def palm(self, kind: str, x: float, z: float, size: float) -> None:
        """A palm: a slim trunk and two flat crowns."""
        self.parts.column(x, z, 0.2, 0.0, 3.3 * size, PALETTES[kind].trunk)
        leaf = self.color(kind, "leaf")
        self.parts.ellipsoid(x, z, 3.4 * size, 1.6 * size, 0.42, leaf)
        self.parts.ellipsoid(x, z, 3.75 * size, 0.9 * size, 0.42, jittered(self.rng, leaf, 0.1))

    def cactus(self, kind: str, x: float, z: float, size: float) -> None:
        """A cactus with an arm or two."""
        leaf, h = self.color(kind, "leaf"), 1.9 * size
        self.parts.column(x, z, 0.3, 0.0, h, leaf)
        self.parts.ellipsoid(x, z, h, 0.3, 0.32, leaf)
        a = self.rng.uniform(0, 2 * math.pi)
        for side in (1.0, -1.0)[: int(self.rng.integers(1, 3))]:
            dx, dz = side * 0.62 * math.cos(a), side * 0.62 * math.sin(a)
            self.parts.ellipsoid(x + dx, z + dz, h * 0.66, 0.28, 0.62, leaf)

    def bush(self, kind: str, x: float, z: float, size: float) -> None:
        """A low round bush."""
        r = 0.75 * size
        self.parts.ellipsoid(x, z, 0.3 * size, r, 0.62 * size, self.color(kind, "leaf", 0.2))

    def flowers(self, kind: str, x: float, z: float, size: float) -> None:
        """A small bright mound."""
        self.parts.ellipsoid(x, z, 0.08, 0.6 * size, 0.36, self.color(kind, "accent", 0.4))

    def rock(self, kind: str, x: float, z: float, size: float) -> None:
        """A rounded rock."""
        color = jittered(self.rng, PALETTES[kind].rock, 0.1)
        self.parts.ellipsoid(x, z, 0.15 * size, 0.85 * size, 0.75 * size, color)
        if kind == "snow":
            self.parts.ellipsoid(x, z, 0.55 * size, 0.6 * size, 0.42 * size, _WHITE)

    def mesa(self, kind: str, x: float, z: float, size: float) -> None:
        """A banded column of rock with a flat top."""
        rock = jittered(self.rng, PALETTES[kind].rock, 0.06)
        band = (min(rock[0] * 1.22, 1.0), min(rock[1] * 1.4, 1.0), min(rock[2] * 1.4, 1.0))
        radius, height = 1.9 * size, min(4.2 * size, 6.8)
        self.parts.column(x, z, radius, 0.0, height, rock, band, 2.0)
        self.parts.ellipsoid(x, z, height, radius * 1.12, 0.6, band)

    def tent(self, kind: str, x: float, z: float, size: float) -> None:
        """A striped tent."""
        color = self.color(kind, "accent", 0.5)
        self.parts.cone(x, z, 1.9 * size, 0.0, 2.7 * size, color, (0.95, 0.89, 0.74), 1.8)

    def snowman(self, kind: str, x: float, z: float, size: float) -> None:
        """A snowman in a hat."""
        for y, r in ((0.7, 0.9), (1.85, 0.68), (2.75, 0.48)):
            self.parts.ellipsoid(x, z, y * size, r * size, r * 0.92 * size, (0.98, 0.98, 1.0))
        self.parts.column(x, z, 0.38 * size, 3.0 * size, 3.7 * size, self.color(kind, "accent", 0.4))

    def parasol(self, kind: str, x: float, z: float, size: float) -> None:
        """A parasol."""
        self.parts.column(x, z, 0.16, 0.0, 2.1, _WHITE)
        self.parts.cone(x, z, 1.5, 1.7, 2.6, self.color(kind, "accent", 0.5))

    def lamp(self, kind: str, x: float, z: float, size: float) -> None:
        """A street lamp, or a stone lantern in a garden."""
        if kind == "garden":
            self.parts.column(x, z, 0.26, 0.0, 0.9, (0.60, 0.60, 0.62))
            self.parts.ellipsoid(x, z, 1.15, 0.4, 0.36, (1.0, 0.86, 0.55), glow=1.0)
            self.parts.cone(x, z, 0.7, 1.35, 1.9, (0.55, 0.55, 0.58))
            return
        self.parts.column(x, z, 0.15, 0.0, 2.5, (0.16, 0.16, 0.2))
        self.parts.ellipsoid(x, z, 2.75, 0.36, 0.42, (1.0, 0.86, 0.55), glow=1.0)

    def gate(self, kind: str, x: float, z: float, yaw: float) -> None:
        """A wooden gate of two posts and two beams, to walk through."""
        red, c, s = self.color(kind, "accent", 0.1), math.cos(yaw), math.sin(yaw)
        for side in (-1.7, 1.7):
            self.parts.column(x + c * side, z - s * side, 0.25, 0.0, 3.6, red)
        self.parts.box(x, 3.7, z, (2.6, 0.26, 0.3), yaw, red)
        self.parts.box(x, 2.8, z, (2.0, 0.2, 0.2), yaw, red)

    def boat(self, kind: str, x: float, z: float, yaw: float) -> None:
        """A sailing boat."""
        self.parts.box(x, 0.35, z, (1.7, 0.4, 0.7), yaw, self.color(kind, "accent", 0.5))
        self.parts.column(x, z, 0.14, 0.6, 4.4, (0.45, 0.33, 0.22))
        self.parts.cone(x, z, 1.1, 1.2, 4.6, _WHITE)

    def house(self, kind: str, x: float, z: float, yaw: float, size: float) -> None:
        """Walls, a gable roof, a door and windows."""
        rng, p = self.rng, self.parts
        tall = 1.7 if kind == "town" and rng.random() < 0.6 else 1.25
        w, h, d = 2.0 * size, tall * size, rng.uniform(1.5, 2.2) * size
        wall, roof = self.color(kind, "wall", 0.3), self.color(kind, "roof", 0.25)
        p.box(x, h, z, (w, h, d), yaw, wall)
        edge = w / math.sqrt(2) * 1.14
        p.box(x, 2 * h - 0.1, z, (edge, edge, d * 0.97), yaw, roof, roll=math.pi / 4)
        if rng.random() < 0.5:
            dx, dz = self._turned(0.55 * w, 0.4 * d, yaw)
            p.box(x + dx, 2 * h + 0.9 * size, z + dz, (0.3, 0.7, 0.3), yaw, (0.50, 0.36, 0.32))
        openings = [(0.0, 0.42, 0.9, 0.9, _DOOR, 0.0)]
        for level in (1.4 * size,) if tall < 1.5 else (1.3 * size, 2.6 * size):
            openings += [(a * w, 0.42 * size, 0.42 * size, level, _PANE, 0.5) for a in (-0.56, 0.56)]
        for side in (-1.0, 1.0):
            for along, half, high, y, color, glow in openings:
                # As deep as a cell, so that the state sees them too.
                dx, dz = self._turned(along, side * (d - 0.28), yaw)
                p.box(x + dx, y, z + dz, (half, high, 0.36), yaw, color, glow=glow)

    def tower(self, kind: str, x: float, z: float, size: float) -> None:
        """The landmark of a kind of land: a lighthouse, a church tower, a pagoda, ..."""
        p, wall, roof = self.parts, self.color(kind, "wall"), self.color(kind, "roof")
        if kind == "town":
            p.box(x, 2.7, z, (1.3, 2.7, 1.3), self.rng.uniform(0, 1.5), wall)
            p.cone(x, z, 1.9, 5.3, 7.9, roof)
            p.ellipsoid(x, z, 4.5, 1.45, 0.5, (1.0, 0.86, 0.5), glow=0.7)
        elif kind == "garden":
            for floor in range(3):
                base, wide = 2.1 * floor, 1.9 - 0.35 * floor
                p.column(x, z, wide, base, base + 1.7, wall)
                p.cone(x, z, wide * 1.7, base + 1.5, base + 2.5, roof)
        elif kind == "desert":
            p.box(x, 2.0, z, (1.9, 2.0, 1.9), self.rng.uniform(0, 1.5), wall)
            p.ellipsoid(x, z, 4.0, 1.8, 1.7, roof)
        else:
            band = self.color(kind, "accent", 0.2) if kind in ("coast", "meadow", "snow") else wall
            p.column(x, z, 1.3, 0.0, 5.6, wall, band, 2.0)
            p.cone(x, z, 1.75, 5.5, 7.9, roof)

    @staticmethod
    def _turned(dx: float, dz: float, yaw: float) -> tuple[float, float]:
        c, s = math.cos(yaw), math.sin(yaw)
        return c * dx + s * dz, -s * dx + c * dz


Small = Callable[[Builder, str, float, float, float], None]

SMALL: dict[str, tuple[tuple[Small, float, float, str], ...]] = {
    "meadow": (
        (Builder.tree, 0.10, 1.2, "trees"), (Builder.bush, 0.06, 0.6, "trees"), (Builder.rock, 0.04, 0.8, "rocks"),
        (Builder.flowers, 0.10, 0.6, "trees"),
    ),
    "forest": (
        (Builder.tree, 0.24, 1.1, "trees"), (Builder.pine, 0.26, 1.1, "trees"), (Builder.bush, 0.10, 0.6, "trees"),
        (Builder.rock, 0.06, 0.8, "rocks"), (Builder.flowers, 0.03, 0.6, "trees"),
    ),
    "desert": (
        (Builder.cactus, 0.08, 0.6, "trees"), (Builder.mesa, 0.03, 2.4, "rocks"), (Builder.rock, 0.07, 0.8, "rocks"),
        (Builder.tent, 0.018, 1.9, "houses"), (Builder.bush, 0.03, 0.6, "trees"),
    ),
    "town": (
        (Builder.tree, 0.07, 1.1, "trees"), (Builder.lamp, 0.07, 0.5, "houses"), (Builder.bush, 0.05, 0.6, "trees"),
        (Builder.parasol, 0.03, 1.3, "houses"), (Builder.flowers, 0.03, 0.6, "trees"),
    ),
    "snow": (
        (Builder.pine, 0.15, 1.1, "trees"), (Builder.rock, 0.05, 0.8, "rocks"), (Builder.snowman, 0.02, 1.0, "houses"),
        (Builder.lamp, 0.012, 0.5, "houses"), (Builder.bush, 0.02, 0.6, "trees"),
    ),
    "coast": (
        (Builder.palm, 0.11, 0.9, "trees"), (Builder.parasol, 0.05, 1.2, "houses"), (Builder.rock, 0.05, 0.8, "rocks"),
        (Builder.bush, 0.04, 0.6, "trees"),
    ),
    "garden": (
        (Builder.tree, 0.16, 1.2, "trees"), (Builder.bush, 0.08, 0.6, "trees"), (Builder.rock, 0.05, 0.8, "rocks"),
        (Builder.lamp, 0.05, 0.5, "houses"), (Builder.flowers, 0.06, 0.6, "trees"),
    ),
}  # fmt: skip
"""For each kind: what stands on a spot with which probability, the room it takes in metres, and the attribute that it
is multiplied by."""
