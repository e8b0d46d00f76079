"""Figures of movers: ellipsoids joined together, of colours that follow from who they are and where they live."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from flashdreams.integrations.pocket.land.kinds import KINDS, PALETTES, Color, ramp
from flashdreams.integrations.pocket.land.parts import jittered
from flashdreams.integrations.pocket.movers.state import Floats, Kind

VARIETIES = 48
"""Different looks of a kind of mover in a kind of land."""
Vector = tuple[float, float, float]
_SKIN: tuple[Color, ...] = ((0.93, 0.75, 0.62), (0.76, 0.56, 0.42), (0.52, 0.36, 0.26))
_HAIR: tuple[Color, ...] = ((0.16, 0.12, 0.10), (0.40, 0.26, 0.14), (0.72, 0.54, 0.26), (0.60, 0.60, 0.62))
_TROUSERS: tuple[Color, ...] = ((0.20, 0.22, 0.34), (0.36, 0.28, 0.22), (0.30, 0.32, 0.30))
_WHITE: Color = (0.96, 0.95, 0.92)
_DARK: Color = (0.14, 0.12, 0.12)


@dataclass(frozen=True)
class Figure:
    """Ellipsoids `K` of one mover, in metres forward, to the right and up from where it stands."""

    centres: Floats
    """`[K, 3]`"""
    radii: Floats
    """`[K, 3]`: half sizes."""
    paints: Floats
    """`[K, 3]`: colours, 0 to 1."""
    pivots: Floats
    """`[K, 3]`: points that parts swing about."""
    pitches: Floats
    """`[K, 4]` of the swing about the axis to the right: amplitude, phase, always, and at rest, in radians."""
    rolls: Floats
    """`[K, 2]` of the swing about the axis forward: amplitude and phase."""
    stride: float
    """Metres on its way in which a swing repeats."""
    height: float
    """Metres from the ground to the top, for its shadow."""
    width: float
    """Half the width of its shadow."""


class _Sculptor:
    """Collects the ellipsoids of a figure."""

    def __init__(self) -> None:
        self.rows: list[list[float]] = []

    def part(
        self,
        centre: Vector,
        radii: Vector,
        paint: Color,
        *,
        pivot: Vector | None = None,
        swing: float = 0.0,
        phase: float = 0.0,
        tilt: float = 0.0,
        resting: float = 0.0,
        flap: float = 0.0,
    ) -> None:
        """Add one."""
        rolls = (flap, phase) if flap else (0.0, 0.0)
        row = [*centre, *radii, *paint, *(pivot or centre), swing, phase, tilt, resting, *rolls]
        self.rows.append([float(v) for v in row])

    def figure(self, stride: float, height: float, width: float) -> Figure:
        """All of them."""
        table = np.array(self.rows, np.float32)
        centres, radii, paints, pivots, pitches, rolls = np.split(table, (3, 6, 9, 12, 16), axis=1)
        return Figure(centres, radii, paints, pivots, pitches, rolls, stride, height, width)


@lru_cache(maxsize=1024)
def figure_of(kind: int, land: int, variety: int) -> Figure:
    """The figure of a mover of `kind`, born in `land`, in one of `VARIETIES`."""
    rng = np.random.default_rng([61, kind, land, variety])
    make = {Kind.PERSON: _person, Kind.ANIMAL: _animal, Kind.BIRD: _bird, Kind.BOAT: _boat}[Kind(kind)]
    return make(rng, KINDS[land])


def _pick(rng: np.random.Generator, colors: Sequence[Color]) -> Color:
    return jittered(rng, colors[int(rng.integers(len(colors)))], 0.05)


def _accent(rng: np.random.Generator, land: str) -> Color:
    return jittered(rng, ramp(PALETTES[land].accent, float(rng.uniform())), 0.06)


def _person(rng: np.random.Generator, land: str) -> Figure:
    """Legs and arms that swing, a coat, a head, hair or a hat."""
    s, build = _Sculptor(), float(rng.uniform(0.9, 1.08))
    coat, skin, trousers = _accent(rng, land), _pick(rng, _SKIN), _pick(rng, _TROUSERS)
    robe = land in ("desert", "garden") and rng.random() < 0.6
    for side, phase in ((-1.0, 0.0), (1.0, math.pi)):
        hip = (0.0, side * 0.1, 0.84)
        s.part((0, side * 0.1, 0.42), (0.1, 0.1, 0.44), trousers, pivot=hip, swing=0.4, phase=phase)
        shoulder = (0.0, side * 0.27, 1.36)
        s.part((0, side * 0.3, 1.08), (0.075, 0.075, 0.34), coat, pivot=shoulder, swing=0.45, phase=phase + math.pi)
    if robe:
        s.part((0, 0, 0.62), (0.27, 0.3, 0.56), coat)
    s.part((0, 0, 1.1), (0.19, 0.26, 0.4), coat)
    s.part((0.01, 0, 1.6), (0.15, 0.145, 0.17), skin)
    hat = _accent(rng, land) if rng.random() < 0.5 or land == "snow" else _pick(rng, _HAIR)
    s.part((-0.03, 0, 1.7), (0.17, 0.17, 0.12), hat)
    if land in ("garden", "desert", "coast") and rng.random() < 0.5:
        s.part((0, 0, 1.7), (0.33, 0.33, 0.06), jittered(rng, (0.88, 0.78, 0.52)))
    s.rows = [[v * build if i < 6 or 9 <= i < 12 else v for i, v in enumerate(row)] for row in s.rows]
    return s.figure(1.5, 1.75 * build, 0.26)


Build = tuple[Color, Color, float, float, float]
"""Coat, head and legs, size, length of the legs over that of the body, and neck of an animal."""
_DOG: Build = ((0.88, 0.80, 0.66), (0.80, 0.70, 0.55), 0.7, 0.6, 0.3)
_ANIMALS: dict[str, tuple[Build, ...]] = {
    "meadow": (
        (_WHITE, _DARK, 1.0, 0.5, 0.25),
        (_WHITE, (0.85, 0.80, 0.70), 1.0, 0.5, 0.25),
        ((0.36, 0.22, 0.14), (0.36, 0.22, 0.14), 1.5, 0.7, 0.5),
    ),
    "forest": (
        ((0.55, 0.36, 0.20), (0.50, 0.32, 0.18), 1.2, 0.9, 0.6),
        ((0.80, 0.40, 0.16), (0.85, 0.50, 0.25), 0.6, 0.5, 0.2),
    ),
    "desert": (((0.80, 0.60, 0.38), (0.76, 0.56, 0.36), 1.6, 1.0, 0.9), ((0.70, 0.62, 0.50), _DARK, 0.9, 0.6, 0.3)),
    "town": (_DOG, ((0.30, 0.22, 0.16), (0.26, 0.18, 0.14), 0.7, 0.6, 0.3)),
    "snow": (
        ((0.56, 0.48, 0.42), (0.44, 0.36, 0.32), 1.3, 0.8, 0.5),
        ((0.86, 0.87, 0.90), (0.80, 0.80, 0.84), 0.7, 0.5, 0.2),
    ),
    "coast": (_DOG, (_WHITE, (0.60, 0.50, 0.40), 0.9, 0.6, 0.3)),
    "garden": (
        ((0.66, 0.46, 0.28), (0.60, 0.40, 0.25), 1.0, 0.8, 0.5),
        (_WHITE, (0.90, 0.86, 0.80), 0.6, 0.5, 0.2),
    ),
}


def _animal(rng: np.random.Generator, land: str) -> Figure:
    """A body on four legs; the head goes down where it rests and grazes."""
    s, choices = _Sculptor(), _ANIMALS[land]
    coat, head, size, legs, neck = choices[int(rng.integers(len(choices)))]
    size *= float(rng.uniform(0.88, 1.12))
    coat, head = jittered(rng, coat), jittered(rng, head)
    long, high = 0.48 * size, 0.52 * size * legs
    body = high + 0.2 * size
    for front, side, phase in ((1, -1, 0.0), (-1, 1, 0.4), (1, 1, math.pi), (-1, -1, math.pi + 0.4)):
        at = (front * 0.62 * long, side * 0.14 * size, body)
        s.part(
            (at[0], at[1], body / 2),
            (0.07 * size, 0.065 * size, body / 2 + 0.03),
            head,
            pivot=at,
            swing=0.5,
            phase=phase,
        )
    s.part((0, 0, body + 0.06 * size), (long, 0.24 * size, 0.27 * size), coat)
    if land == "desert" and size > 1.2:
        s.part((0, 0, body + 0.38 * size), (0.18 * size, 0.12 * size, 0.16 * size), coat)
    chest = (0.74 * long, 0.0, body + 0.12 * size)
    top = (chest[0] + 0.16 * size + 0.2 * neck * size, 0.0, chest[2] + neck * 0.75 * size)
    middle = ((chest[0] + top[0]) / 2, 0.0, (chest[2] + top[2]) / 2)
    s.part(
        middle, (0.1 * size, 0.09 * size, 0.16 * size + neck * 0.4 * size), coat, pivot=chest, tilt=-0.25, resting=-1.3
    )
    s.part((top[0] + 0.08 * size, 0, top[2]), (0.2 * size, 0.11 * size, 0.125 * size), head, pivot=chest, resting=-1.2)
    s.part((-long - 0.05 * size, 0, body + 0.08 * size), (0.08 * size, 0.05 * size, 0.14 * size), coat)
    return s.figure(1.1 * size, top[2] + 0.1 * size, 0.3 * size)


_BIRDS: dict[str, tuple[Color, ...]] = {
    "coast": (_WHITE, (0.9, 0.91, 0.94)), "snow": ((0.16, 0.17, 0.2), _WHITE), "garden": (_WHITE, (0.92, 0.88, 0.86)),
}  # fmt: skip


def _bird(rng: np.random.Generator, land: str) -> Figure:
    """A body between two wings that beat."""
    s = _Sculptor()
    color = _pick(rng, _BIRDS.get(land, ((0.20, 0.18, 0.18), (0.34, 0.30, 0.28), (0.86, 0.84, 0.82))))
    tip = tuple(c * 0.7 for c in color)
    size = float(rng.uniform(1.0, 1.35))
    for side in (-1.0, 1.0):
        root = (0.0, side * 0.06 * size, 0.0)
        s.part((0.02, side * 0.26 * size, 0), (0.15 * size, 0.24 * size, 0.035), color, pivot=root, flap=side * 0.65)
        s.part(
            (-0.05, side * 0.5 * size, 0),
            (0.10 * size, 0.2 * size, 0.03),
            (tip[0], tip[1], tip[2]),
            pivot=root,
            flap=side * 0.8,
        )
    s.part((0, 0, 0), (0.3 * size, 0.09 * size, 0.09 * size), color)
    s.part((0.3 * size, 0, 0.04), (0.1 * size, 0.075 * size, 0.075 * size), color)
    s.part((-0.32 * size, 0, 0), (0.12 * size, 0.09 * size, 0.025), (tip[0], tip[1], tip[2]))
    return s.figure(2.1, 0.3, 0.3)


def _boat(rng: np.random.Generator, land: str) -> Figure:
    """A hull, a mast and a sail."""
    s, hull, sail = _Sculptor(), _accent(rng, land), jittered(rng, _WHITE, 0.04)
    s.part((0, 0, 0.2), (1.5, 0.55, 0.34), hull)
    s.part((0.0, 0, 0.42), (1.15, 0.4, 0.14), jittered(rng, (0.66, 0.50, 0.34)))
    s.part((0.1, 0, 1.8), (0.06, 0.06, 1.55), (0.45, 0.33, 0.22))
    s.part((-0.35, 0.05, 1.55), (0.62, 0.09, 1.0), sail)
    s.part((-0.22, 0.05, 2.2), (0.36, 0.08, 0.85), sail)
    if rng.random() < 0.7:
        s.part((-0.9, 0, 0.75), (0.17, 0.2, 0.35), _accent(rng, land))
        s.part((-0.88, 0, 1.18), (0.13, 0.13, 0.15), _pick(rng, _SKIN))
    return s.figure(6.0, 1.2, 0.6)
