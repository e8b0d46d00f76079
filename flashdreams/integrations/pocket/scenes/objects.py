"""Building blocks of a scene: bodies of revolution, boxes, light, and objects made of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

Color = tuple[float, float, float]


@dataclass(frozen=True)
class Round:
    """A body of revolution about the vertical: `scale * r^2 + quad * y^2 + lin * y + const <= 0`, bottom to top."""

    x: float
    z: float
    scale: float
    quad: float
    lin: float
    const: float
    bottom: float
    top: float
    color: Color
    stripe: Color
    stripe_period: float = 0.0
    glow: float = 0.0
    reach: float = 1.0
    """Largest horizontal radius."""


@dataclass(frozen=True)
class Box:
    """A box with half sizes `half`, turned by `yaw` (about the vertical) after `roll` (about its own z), in radians."""

    x: float
    y: float
    z: float
    half: tuple[float, float, float]
    yaw: float
    color: Color
    roll: float = 0.0
    stripe: Color | None = None
    stripe_period: float = 0.0
    glow: float = 0.0


@dataclass(frozen=True)
class Light:
    """Sky, sun, haze and ground of a place. Colours are in display space, 0 to 1."""

    zenith: Color
    horizon: Color
    sun: Color
    sun_azimuth: float
    sun_elevation: float
    sun_size: float
    sun_glow: float
    sunlight: float
    ambient: float
    far_ridge: Color
    near_ridge: Color
    ridge_height: float
    ridge_step: float
    ground: Color
    ground_patch: Color
    path: Color
    water: Color
    haze: float
    aurora: float = 0.0
    stars: float = 0.0
    lamp: Color = (0.0, 0.0, 0.0)


@dataclass
class SceneLayout:
    """One scene: its light, its things, and the circles that a visitor cannot enter."""

    name: str
    title: str
    light: Light
    rounds: list[Round] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    obstacles: list[tuple[float, float, float]] = field(default_factory=list)
    """x, z, radius."""
    lamps: list[tuple[float, float]] = field(default_factory=list)
    """x, z of pools of light on the ground."""
    pond: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """x, z, radius of a round pond; radius 0 is no pond."""
    shore: float = 0.0
    """Metres from the origin to the sea all around; 0 is no sea."""
    start: tuple[float, float, float] = (0.0, -8.0, 0.0)
    """x, z and yaw in degrees where visitors begin."""

    def ellipsoid(
        self, x: float, z: float, y: float, radius: float, height: float, color: Color, **extra: object
    ) -> None:
        """An ellipsoid of revolution centred at height `y`."""
        s, q = 1.0 / radius**2, 1.0 / height**2
        self.rounds.append(
            Round(x, z, s, q, -2 * q * y, q * y * y - 1, y - height, y + height, color, color, reach=radius, **extra)  # type: ignore[arg-type]
        )

    def column(
        self,
        x: float,
        z: float,
        radius: float,
        bottom: float,
        top: float,
        color: Color,
        stripe: Color | None = None,
        period: float = 0.0,
        glow: float = 0.0,
    ) -> None:
        """An upright cylinder, open at the top (roofs sit on it)."""
        self.rounds.append(
            Round(x, z, 1.0, 0.0, 0.0, -(radius**2), bottom, top, color, stripe or color, period, glow, radius)
        )

    def cone(
        self,
        x: float,
        z: float,
        radius: float,
        bottom: float,
        top: float,
        color: Color,
        stripe: Color | None = None,
        period: float = 0.0,
    ) -> None:
        """An upright cone, its point at `top`."""
        k = (radius / (top - bottom)) ** 2
        self.rounds.append(
            Round(x, z, 1.0, -k, 2 * k * top, -k * top * top, bottom, top, color, stripe or color, period, 0.0, radius)
        )

    def block(self, x: float, z: float, radius: float) -> None:
        """Keep visitors out of a circle."""
        self.obstacles.append((x, z, radius))

    def house(
        self, x: float, z: float, yaw: float, wall: Color, roof: Color, size: float = 1.0, lit: Color | None = None
    ) -> None:
        """A cottage: walls, gable roof, door and windows (lit ones glow)."""
        w, h, d = 2.0 * size, 1.25 * size, 1.5 * size
        self.boxes.append(Box(x, h, z, (w, h, d), yaw, wall))
        edge = w / math.sqrt(2) * 1.12
        self.boxes.append(Box(x, 2 * h - 0.12, z, (edge, edge, d * 0.985), yaw, roof, roll=math.pi / 4))
        glow = 0.9 if lit else 0.0
        pane = lit or (0.28, 0.36, 0.46)
        c, s = math.cos(yaw), math.sin(yaw)
        for side in (-1.0, 1.0):
            for along, width, height, y, color, shine in (
                (-0.5 * w, 0.42 * size, 0.42 * size, 1.4 * size, pane, glow),
                (0.5 * w, 0.42 * size, 0.42 * size, 1.4 * size, pane, glow),
                (0.0, 0.38 * size, 0.85 * size, 0.85 * size, (0.34, 0.2, 0.13), 0.0),
            ):
                lx, lz = along, side * (d + 0.01)
                self.boxes.append(
                    Box(x + c * lx + s * lz, y, z - s * lx + c * lz, (width, height, 0.05), yaw, color, glow=shine)
                )
        self.block(x, z, math.hypot(w, d) * 0.96)

    def tree(self, x: float, z: float, size: float, leaf: Color, trunk: Color = (0.36, 0.25, 0.17)) -> None:
        """A round-headed tree."""
        self.column(x, z, 0.16 * size, 0.0, 1.5 * size, trunk)
        self.ellipsoid(x, z, 2.2 * size, 1.05 * size, 1.15 * size, leaf)
        self.block(x, z, 0.35 * size)

    def pine(self, x: float, z: float, size: float, leaf: Color, snow: Color | None = None) -> None:
        """A pine of two cones."""
        self.column(x, z, 0.15 * size, 0.0, 0.8 * size, (0.3, 0.2, 0.15))
        self.cone(x, z, 1.15 * size, 0.6 * size, 2.6 * size, leaf, snow, 1.0 * size if snow else 0.0)
        self.cone(x, z, 0.8 * size, 1.7 * size, 3.5 * size, snow or leaf)
        self.block(x, z, 0.4 * size)

    def tower(self, x: float, z: float, radius: float, height: float, wall: Color, band: Color, roof: Color) -> None:
        """A banded round tower with a pointed roof."""
        self.column(x, z, radius, 0.0, height, wall, band, 1.8)
        self.cone(x, z, radius * 1.3, height - 0.05, height + radius * 2.2, roof)
        self.block(x, z, radius)

    def palm(self, x: float, z: float, size: float) -> None:
        """A palm: a slim trunk and two flat crowns."""
        self.column(x, z, 0.13 * size, 0.0, 3.3 * size, (0.58, 0.44, 0.30), (0.48, 0.36, 0.25), 0.6)
        self.ellipsoid(x, z, 3.35 * size, 1.35 * size, 0.3 * size, (0.20, 0.54, 0.26))
        self.ellipsoid(x, z, 3.55 * size, 0.8 * size, 0.32 * size, (0.34, 0.66, 0.28))
        self.block(x, z, 0.3 * size)

    def boat(self, x: float, z: float, yaw: float, hull: Color, sail: Color) -> None:
        """A sailing boat: a hull, a mast and a sail."""
        self.boxes.append(Box(x, 0.3, z, (1.6, 0.35, 0.6), yaw, hull))
        self.boxes.append(Box(x, 0.68, z, (1.7, 0.07, 0.68), yaw, (0.97, 0.95, 0.90)))
        self.column(x, z, 0.07, 0.6, 4.6, (0.45, 0.33, 0.22))
        self.cone(x, z, 1.0, 1.1, 4.4, sail)

    def parasol(self, x: float, z: float, color: Color) -> None:
        """A striped parasol."""
        self.column(x, z, 0.06, 0.0, 2.0, (0.95, 0.93, 0.88))
        self.cone(x, z, 1.35, 1.75, 2.5, color, (0.98, 0.97, 0.93), 0.3)
        self.block(x, z, 0.3)

    def gate(self, x: float, z: float, yaw: float, color: Color) -> None:
        """A wooden gate of two posts and two beams, to walk through."""
        c, s = math.cos(yaw), math.sin(yaw)
        for side in (-1.55, 1.55):
            self.column(x + c * side, z - s * side, 0.2, 0.0, 3.5, color)
            self.block(x + c * side, z - s * side, 0.25)
        self.boxes.append(Box(x, 3.55, z, (2.4, 0.17, 0.24), yaw, color))
        self.boxes.append(Box(x, 3.78, z, (2.6, 0.09, 0.3), yaw, (0.16, 0.13, 0.15)))
        self.boxes.append(Box(x, 2.85, z, (1.9, 0.12, 0.14), yaw, color))

    def pagoda(self, x: float, z: float, floors: int, wall: Color, roof: Color) -> None:
        """A tower of ever smaller floors, each under a wide roof."""
        base = 0.0
        for floor in range(floors):
            wide = 1.9 - 0.35 * floor
            self.column(x, z, wide, base, base + 1.5, wall, (0.70, 0.20, 0.16), 1.5)
            self.cone(x, z, wide * 1.75, base + 1.4, base + 2.3, roof)
            base += 1.9
        self.column(x, z, 0.1, base + 0.2, base + 1.6, (0.85, 0.68, 0.32))
        self.block(x, z, 1.95)

    def lantern(self, x: float, z: float) -> None:
        """A stone lantern with a light in it."""
        stone = (0.60, 0.60, 0.62)
        self.column(x, z, 0.17, 0.0, 0.9, stone)
        self.boxes.append(Box(x, 1.1, z, (0.26, 0.22, 0.26), 0.3, (1.0, 0.86, 0.55), glow=0.7))
        self.cone(x, z, 0.62, 1.3, 1.75, stone)
        self.block(x, z, 0.3)

    def lamp(self, x: float, z: float, bulb: Color) -> None:
        """A street lamp and its pool of light."""
        self.column(x, z, 0.07, 0.0, 2.5, (0.12, 0.12, 0.16))
        self.ellipsoid(x, z, 2.7, 0.26, 0.3, bulb, glow=1.0)
        self.lamps.append((x, z))
        self.block(x, z, 0.2)
