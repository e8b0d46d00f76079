"""The six places of the pocket world: what stands where, in which light. Geometry only; `renderer` draws it.

Lengths are metres, heights are measured upwards from the ground; x points east and z north. Every place is made from
a fixed seed, so that it is the same place in training, evaluation and play.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from flashdreams.integrations.pocket.scenes.objects import Box, Light, SceneLayout

WALK_RADIUS = 15.0
"""Visitors stay within this distance of the origin."""
BODY_RADIUS = 0.55
"""Visitors keep this distance from what they could bump into."""


def _scatter(
    seed: int,
    count: int,
    inner: float,
    outer: float,
    apart: float,
    taken: list[tuple[float, float, float]],
    start: tuple[float, float, float],
) -> list[tuple[float, float, float]]:
    """`count` spots (x, z, random in 0..1) in a ring, apart from each other, `taken` circles and the start."""
    rng = np.random.default_rng(seed)
    spots: list[tuple[float, float, float]] = []
    while len(spots) < count:
        angle, radius = rng.uniform(0, 2 * math.pi), math.sqrt(rng.uniform(inner**2, outer**2))
        x, z, extra = radius * math.cos(angle), radius * math.sin(angle), rng.uniform()
        clear = all(math.hypot(x - ox, z - oz) > orad + apart * 0.6 for ox, oz, orad in taken)
        clear = clear and all(math.hypot(x - sx, z - sz) > apart for sx, sz, _ in spots)
        if clear and math.hypot(x - start[0], z - start[1]) > 3.0:
            spots.append((x, z, extra))
    return spots


def _meadow() -> SceneLayout:
    p = SceneLayout(
        "meadow",
        "Meadow, morning",
        Light(
            zenith=(0.25, 0.52, 0.86),
            horizon=(0.80, 0.90, 0.95),
            sun=(1.0, 0.96, 0.82),
            sun_azimuth=50,
            sun_elevation=38,
            sun_size=0.05,
            sun_glow=0.35,
            sunlight=0.55,
            ambient=0.58,
            far_ridge=(0.56, 0.68, 0.80),
            near_ridge=(0.36, 0.55, 0.50),
            ridge_height=0.11,
            ridge_step=0.0,
            ground=(0.42, 0.64, 0.26),
            ground_patch=(0.58, 0.72, 0.30),
            path=(0.80, 0.70, 0.50),
            water=(0.30, 0.55, 0.72),
            haze=0.012,
        ),
    )
    p.pond = (7.5, 2.5, 3.0)
    p.block(7.5, 2.5, 3.0)
    p.house(-6.0, 4.0, 0.5, (0.95, 0.92, 0.84), (0.78, 0.26, 0.20))
    p.house(4.0, 12.0, -0.4, (0.90, 0.82, 0.62), (0.30, 0.42, 0.62))
    p.tower(0.5, 5.5, 1.1, 6.0, (0.96, 0.95, 0.92), (0.84, 0.22, 0.20), (0.28, 0.34, 0.50))
    leaves = [(0.24, 0.50, 0.20), (0.34, 0.58, 0.22), (0.86, 0.56, 0.66), (0.90, 0.66, 0.22)]
    for x, z, u in _scatter(1, 13, 5.0, 20.0, 3.4, p.obstacles, p.start):
        p.tree(x, z, 1.0 + 0.5 * u, leaves[int(u * 3.99)])
    for x, z, u in _scatter(2, 6, 3.0, 13.0, 3.0, p.obstacles, p.start):
        p.ellipsoid(x, z, 0.2, 0.5 + 0.4 * u, 0.45 + 0.2 * u, (0.66, 0.64, 0.62))
        p.block(x, z, 0.5 + 0.4 * u)
    return p


def _dusk() -> SceneLayout:
    p = SceneLayout(
        "dusk",
        "Desert, sunset",
        Light(
            zenith=(0.22, 0.20, 0.46),
            horizon=(0.99, 0.62, 0.36),
            sun=(1.0, 0.82, 0.46),
            sun_azimuth=-20,
            sun_elevation=7,
            sun_size=0.085,
            sun_glow=0.9,
            sunlight=0.62,
            ambient=0.42,
            far_ridge=(0.62, 0.36, 0.46),
            near_ridge=(0.44, 0.22, 0.32),
            ridge_height=0.10,
            ridge_step=1.0,
            ground=(0.86, 0.56, 0.34),
            ground_patch=(0.74, 0.44, 0.30),
            path=(0.95, 0.72, 0.46),
            water=(0.75, 0.45, 0.45),
            haze=0.016,
        ),
    )
    rock, band = (0.74, 0.34, 0.22), (0.88, 0.50, 0.30)
    for x, z, r, h in (
        (-7.0, 6.0, 2.2, 5.0),
        (8.0, 8.5, 2.8, 7.5),
        (10.5, -4.0, 1.6, 3.6),
        (-11.5, -6.0, 2.4, 6.0),
        (-2.0, 16.5, 3.0, 6.5),
    ):
        p.column(x, z, r, 0.0, h, rock, band, 1.3)
        p.ellipsoid(x, z, h, r * 1.12, 0.5, (0.92, 0.58, 0.36))
        p.block(x, z, r)
    # A stone gate to walk through.
    for x in (-1.9, 1.9):
        p.boxes.append(
            Box(x, 1.9, 1.5, (0.55, 1.9, 0.6), 0.1, (0.80, 0.44, 0.28), stripe=(0.90, 0.56, 0.36), stripe_period=1.2)
        )
        p.block(x, 1.5, 0.8)
    p.boxes.append(Box(0.0, 4.2, 1.5, (3.0, 0.5, 0.75), 0.1, (0.92, 0.60, 0.38)))
    p.cone(4.5, -1.5, 1.9, 0.0, 2.6, (0.22, 0.50, 0.56), (0.95, 0.88, 0.72), 0.9)  # tent
    p.block(4.5, -1.5, 1.7)
    p.cone(-5.0, -2.0, 1.7, 0.0, 2.3, (0.62, 0.20, 0.34), (0.96, 0.84, 0.60), 0.8)
    p.block(-5.0, -2.0, 1.5)
    for x, z, u in _scatter(11, 9, 4.0, 19.0, 3.2, p.obstacles, p.start):
        h = 1.6 + 1.2 * u
        green = (0.24, 0.42, 0.30)
        p.column(x, z, 0.26, 0.0, h, green)
        p.ellipsoid(x, z, h, 0.26, 0.3, green)
        p.ellipsoid(x + 0.5, z, h * 0.62, 0.2, 0.55, green)
        p.block(x, z, 0.45)
    return p


def _night() -> SceneLayout:
    p = SceneLayout(
        "night",
        "Lantern town, night",
        Light(
            zenith=(0.03, 0.05, 0.14),
            horizon=(0.16, 0.18, 0.36),
            sun=(0.92, 0.94, 1.0),
            sun_azimuth=-65,
            sun_elevation=24,
            sun_size=0.075,
            sun_glow=0.22,
            sunlight=0.22,
            ambient=0.40,
            far_ridge=(0.11, 0.12, 0.27),
            near_ridge=(0.06, 0.07, 0.17),
            ridge_height=0.12,
            ridge_step=0.4,
            ground=(0.17, 0.19, 0.30),
            ground_patch=(0.21, 0.23, 0.36),
            path=(0.36, 0.34, 0.42),
            water=(0.10, 0.16, 0.34),
            haze=0.014,
            stars=1.0,
            lamp=(1.0, 0.68, 0.30),
        ),
    )
    warm = (1.0, 0.80, 0.40)
    walls = [(0.36, 0.34, 0.48), (0.46, 0.34, 0.40), (0.30, 0.38, 0.50), (0.44, 0.40, 0.36), (0.34, 0.30, 0.44)]
    roofs = [(0.20, 0.14, 0.28), (0.32, 0.13, 0.18), (0.12, 0.20, 0.30), (0.28, 0.20, 0.14), (0.16, 0.16, 0.24)]
    for i, (x, z, yaw) in enumerate(
        ((-7.0, 1.0, 1.4), (7.2, 2.5, -1.3), (-5.5, 10.0, 0.6), (5.5, 11.0, -0.3), (8.5, -8.0, 0.9))
    ):
        p.house(x, z, yaw, walls[i], roofs[i], 1.05, lit=warm)
    p.tower(0.0, 8.0, 1.2, 7.0, (0.50, 0.46, 0.60), (0.36, 0.33, 0.48), (0.40, 0.14, 0.22))
    p.ellipsoid(0.0, 6.8, 5.2, 0.5, 0.5, warm, glow=1.0)  # the tower clock
    for x, z in (
        (-2.6, -4.5),
        (2.6, -1.5),
        (-2.6, 2.0),
        (3.0, 5.5),
        (-9.5, -6.5),
        (6.0, -4.0),
        (-4.0, 13.5),
        (11.5, 7.0),
    ):
        p.lamp(x, z, (1.0, 0.86, 0.55))
    for x, z, u in _scatter(21, 6, 9.0, 20.0, 3.6, p.obstacles, p.start):
        p.tree(x, z, 1.1 + 0.5 * u, (0.10, 0.20, 0.22), (0.12, 0.10, 0.14))
    return p


def _snow() -> SceneLayout:
    p = SceneLayout(
        "snow",
        "Snowfield, aurora",
        Light(
            zenith=(0.12, 0.22, 0.44),
            horizon=(0.72, 0.80, 0.92),
            sun=(1.0, 0.90, 0.84),
            sun_azimuth=120,
            sun_elevation=16,
            sun_size=0.055,
            sun_glow=0.4,
            sunlight=0.36,
            ambient=0.64,
            far_ridge=(0.66, 0.74, 0.88),
            near_ridge=(0.46, 0.56, 0.74),
            ridge_height=0.20,
            ridge_step=0.0,
            ground=(0.90, 0.93, 0.98),
            ground_patch=(0.80, 0.86, 0.95),
            path=(0.70, 0.78, 0.90),
            water=(0.56, 0.76, 0.88),
            haze=0.017,
            aurora=1.0,
        ),
    )
    p.pond = (-6.0, -3.0, 3.2)
    p.house(5.5, 4.5, -0.6, (0.50, 0.32, 0.22), (0.94, 0.96, 1.0), 1.1, lit=(1.0, 0.78, 0.36))
    p.house(-8.0, 7.0, 0.8, (0.62, 0.22, 0.20), (0.94, 0.96, 1.0), 0.95, lit=(1.0, 0.78, 0.36))
    for y, r in ((0.75, 0.95), (1.95, 0.68), (2.85, 0.45)):  # a snowman, in a red hat
        p.ellipsoid(-2.2, 1.0, y, r, r * 0.92, (0.97, 0.98, 1.0))
    p.column(-2.2, 1.0, 0.36, 3.1, 3.7, (0.82, 0.16, 0.18))
    p.ellipsoid(-2.2, 1.0, 3.7, 0.36, 0.08, (0.82, 0.16, 0.18))
    p.block(-2.2, 1.0, 1.0)
    p.tower(1.5, 12.0, 1.3, 6.5, (0.86, 0.88, 0.94), (0.26, 0.40, 0.62), (0.20, 0.30, 0.52))
    for x, z, u in _scatter(31, 14, 5.0, 20.0, 3.2, p.obstacles, p.start):
        p.pine(x, z, 0.95 + 0.55 * u, (0.16, 0.34, 0.32), (0.88, 0.93, 0.98) if u > 0.4 else None)
    return p


def _harbour() -> SceneLayout:
    p = SceneLayout(
        "harbour",
        "Island harbour, noon",
        Light(
            zenith=(0.12, 0.44, 0.86),
            horizon=(0.74, 0.91, 0.97),
            sun=(1.0, 0.98, 0.90),
            sun_azimuth=-130,
            sun_elevation=56,
            sun_size=0.05,
            sun_glow=0.3,
            sunlight=0.58,
            ambient=0.60,
            far_ridge=(0.50, 0.70, 0.84),
            near_ridge=(0.26, 0.56, 0.62),
            ridge_height=0.045,
            ridge_step=0.0,
            ground=(0.93, 0.84, 0.62),
            ground_patch=(0.62, 0.72, 0.36),
            path=(0.98, 0.92, 0.76),
            water=(0.10, 0.62, 0.70),
            haze=0.008,
        ),
    )
    p.shore = 15.6
    p.tower(-6.5, 9.0, 1.3, 7.0, (0.97, 0.96, 0.94), (0.86, 0.20, 0.18), (0.24, 0.28, 0.36))
    for x, z, yaw, wall, roof in (
        (6.5, 5.5, -0.5, (0.98, 0.74, 0.36), (0.90, 0.36, 0.28)),
        (-6.8, 1.5, 1.2, (0.42, 0.72, 0.86), (0.94, 0.94, 0.92)),
        (4.0, -11.5, 0.5, (0.96, 0.56, 0.58), (0.36, 0.42, 0.58)),
    ):
        p.house(x, z, yaw, wall, roof, 0.9)
    wood = (0.62, 0.44, 0.28)
    p.boxes.append(Box(1.0, 0.12, 15.2, (0.9, 0.14, 5.5), 0.05, wood, stripe=(0.52, 0.36, 0.22), stripe_period=0.6))
    for z in (13.0, 16.5, 20.0):
        for x in (0.0, 2.0):
            p.column(x, z, 0.14, 0.0, 1.0, (0.44, 0.30, 0.18))
    p.boat(4.6, 18.2, 1.2, (0.86, 0.22, 0.20), (0.99, 0.98, 0.94))
    p.boat(-4.2, 20.5, 0.4, (0.16, 0.34, 0.62), (0.98, 0.80, 0.34))
    p.boat(19.5, 5.0, -0.7, (0.95, 0.95, 0.93), (0.92, 0.34, 0.28))
    p.boat(-20.5, -6.0, 1.9, (0.20, 0.56, 0.50), (0.98, 0.97, 0.93))
    for x, z, color in (
        (-10.5, -6.5, (0.92, 0.26, 0.30)),
        (-7.5, -9.5, (0.20, 0.52, 0.80)),
        (11.0, -2.0, (0.98, 0.72, 0.22)),
    ):
        p.parasol(x, z, color)
    for x, z, u in _scatter(41, 9, 4.5, 14.5, 3.2, p.obstacles, p.start):
        p.palm(x, z, 1.0 + 0.35 * u)
    for x, z, u in _scatter(42, 5, 11.0, 17.0, 3.0, p.obstacles, p.start):
        p.ellipsoid(x, z, 0.2, 0.7 + 0.6 * u, 0.5 + 0.3 * u, (0.52, 0.50, 0.50))
        p.block(x, z, 0.7 + 0.6 * u)
    return p


def _garden() -> SceneLayout:
    p = SceneLayout(
        "garden",
        "Blossom garden, evening",
        Light(
            zenith=(0.42, 0.40, 0.74),
            horizon=(1.0, 0.78, 0.70),
            sun=(1.0, 0.88, 0.66),
            sun_azimuth=28,
            sun_elevation=17,
            sun_size=0.065,
            sun_glow=0.6,
            sunlight=0.50,
            ambient=0.54,
            far_ridge=(0.66, 0.54, 0.74),
            near_ridge=(0.44, 0.38, 0.58),
            ridge_height=0.15,
            ridge_step=0.0,
            ground=(0.40, 0.54, 0.30),
            ground_patch=(0.78, 0.62, 0.62),
            path=(0.86, 0.80, 0.74),
            water=(0.36, 0.46, 0.62),
            haze=0.018,
            lamp=(0.50, 0.34, 0.14),
        ),
    )
    p.pond = (7.0, 1.0, 3.0)
    p.block(7.0, 1.0, 3.0)
    red = (0.82, 0.22, 0.16)
    for z in (-4.0, -0.5, 3.0):
        p.gate(1.6 * math.sin(0.28 * z) * math.sin(0.11 * z + 0.4), z, 0.0, red)
    p.pagoda(-0.5, 10.5, 3, (0.95, 0.90, 0.82), (0.26, 0.30, 0.36))
    p.house(-9.0, 3.0, 1.3, (0.90, 0.84, 0.74), (0.30, 0.32, 0.40), 1.05, lit=(1.0, 0.84, 0.50))
    for x, z in ((-2.6, -6.0), (2.8, -2.2), (-2.6, 1.2), (3.2, 5.2), (-3.2, 6.4)):
        p.lantern(x, z)
        p.lamps.append((x, z))
    blossom = [(0.96, 0.68, 0.78), (0.98, 0.80, 0.86), (0.92, 0.56, 0.70), (0.97, 0.74, 0.74)]
    for x, z, u in _scatter(51, 13, 4.5, 20.0, 3.4, p.obstacles, p.start):
        p.tree(x, z, 1.1 + 0.5 * u, blossom[int(u * 3.99)], (0.30, 0.20, 0.18))
    for x, z, u in _scatter(52, 5, 4.0, 14.0, 3.0, p.obstacles, p.start):
        p.ellipsoid(x, z, 0.15, 0.6 + 0.4 * u, 0.4 + 0.25 * u, (0.50, 0.52, 0.50))
        p.block(x, z, 0.6 + 0.4 * u)
    return p


def scene_layouts() -> list[SceneLayout]:
    """All places, in the order of their scene index (the order is part of the trained weights)."""
    makers: tuple[Callable[[], SceneLayout], ...] = (_meadow, _dusk, _night, _snow, _harbour, _garden)
    return [make() for make in makers]
