"""Kinds of land, the attributes and the style that shape one, and the colours that follow from these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Color = tuple[float, float, float]

KINDS = ("meadow", "forest", "desert", "town", "snow", "coast", "garden")
"""Kinds of land, in the order of the condition's first entries."""
HELD_OUT_KIND = "garden"
"""The kind that views are never trained on."""
ATTRIBUTES = ("trees", "houses", "water", "rocks", "ways", "towers")
"""Amounts by name, 0 to 1; 0.5 is usual."""
STYLE = ("leaf", "roof", "wall", "ground", "path", "accent")
"""A world's place in the range of a kind's colours, 0 to 1 each."""
CONDITION = len(KINDS) + len(ATTRIBUTES) + len(STYLE)
"""Entries of a tile's condition: weights of the kinds, attributes, style."""


@dataclass(frozen=True)
class Palette:
    """Colours of one kind of land; a style picks a place on each row."""

    ground: Sequence[Color]
    patch: Sequence[Color]
    path: Sequence[Color]
    water: Sequence[Color]
    leaf: Sequence[Color]
    roof: Sequence[Color]
    wall: Sequence[Color]
    accent: Sequence[Color]
    trunk: Color = (0.38, 0.27, 0.18)
    rock: Color = (0.60, 0.58, 0.56)


_BRIGHT = ((0.86, 0.22, 0.20), (0.95, 0.72, 0.22), (0.20, 0.52, 0.80), (0.92, 0.42, 0.62))

PALETTES: dict[str, Palette] = {
    "meadow": Palette(
        ground=((0.36, 0.58, 0.22), (0.46, 0.66, 0.26), (0.56, 0.64, 0.28)),
        patch=((0.48, 0.68, 0.26), (0.62, 0.74, 0.30), (0.70, 0.66, 0.32)),
        path=((0.80, 0.70, 0.50), (0.66, 0.54, 0.38)),
        water=((0.24, 0.50, 0.70), (0.30, 0.60, 0.66)),
        leaf=((0.20, 0.46, 0.18), (0.34, 0.58, 0.20), (0.88, 0.62, 0.20), (0.80, 0.34, 0.18)),
        roof=((0.78, 0.26, 0.20), (0.30, 0.40, 0.62), (0.50, 0.32, 0.22)),
        wall=((0.95, 0.92, 0.84), (0.90, 0.80, 0.60), (0.80, 0.72, 0.66)),
        accent=_BRIGHT,
    ),
    "forest": Palette(
        ground=((0.22, 0.38, 0.16), (0.32, 0.40, 0.18), (0.42, 0.34, 0.20)),
        patch=((0.34, 0.36, 0.18), (0.26, 0.44, 0.20), (0.50, 0.38, 0.22)),
        path=((0.52, 0.42, 0.28), (0.44, 0.36, 0.26)),
        water=((0.14, 0.32, 0.36), (0.18, 0.40, 0.48)),
        leaf=((0.10, 0.32, 0.14), (0.18, 0.42, 0.16), (0.40, 0.46, 0.14), (0.74, 0.40, 0.14)),
        roof=((0.34, 0.22, 0.16), (0.24, 0.34, 0.22), (0.46, 0.20, 0.16)),
        wall=((0.54, 0.40, 0.26), (0.42, 0.32, 0.24), (0.64, 0.56, 0.44)),
        accent=((0.82, 0.20, 0.16), (0.92, 0.80, 0.50), (0.60, 0.36, 0.66)),
        rock=(0.44, 0.46, 0.42),
    ),
    "desert": Palette(
        ground=((0.88, 0.66, 0.42), (0.86, 0.56, 0.34), (0.90, 0.76, 0.54)),
        patch=((0.80, 0.56, 0.34), (0.74, 0.44, 0.28), (0.84, 0.68, 0.46)),
        path=((0.96, 0.80, 0.58), (0.70, 0.46, 0.30)),
        water=((0.20, 0.56, 0.58), (0.26, 0.50, 0.62)),
        leaf=((0.24, 0.44, 0.28), (0.36, 0.50, 0.26)),
        roof=((0.22, 0.50, 0.56), (0.62, 0.20, 0.34), (0.90, 0.80, 0.60)),
        wall=((0.92, 0.78, 0.58), (0.84, 0.62, 0.44), (0.96, 0.90, 0.78)),
        accent=((0.22, 0.50, 0.56), (0.62, 0.20, 0.34), (0.92, 0.62, 0.20)),
        rock=(0.72, 0.38, 0.24),
    ),
    "town": Palette(
        ground=((0.62, 0.58, 0.52), (0.54, 0.54, 0.56), (0.68, 0.60, 0.48)),
        patch=((0.50, 0.60, 0.36), (0.58, 0.58, 0.56), (0.60, 0.52, 0.42)),
        path=((0.76, 0.72, 0.66), (0.44, 0.43, 0.46)),
        water=((0.22, 0.44, 0.58), (0.26, 0.50, 0.60)),
        leaf=((0.24, 0.46, 0.20), (0.36, 0.54, 0.24), (0.82, 0.58, 0.24)),
        roof=((0.72, 0.30, 0.22), (0.32, 0.34, 0.44), (0.24, 0.44, 0.46), (0.48, 0.30, 0.24)),
        wall=((0.94, 0.88, 0.76), (0.88, 0.64, 0.44), (0.72, 0.78, 0.80), (0.86, 0.72, 0.70)),
        accent=_BRIGHT,
    ),
    "snow": Palette(
        ground=((0.92, 0.95, 0.99), (0.86, 0.91, 0.98), (0.95, 0.94, 0.95)),
        patch=((0.80, 0.87, 0.96), (0.88, 0.92, 0.97), (0.84, 0.84, 0.90)),
        path=((0.70, 0.76, 0.86), (0.62, 0.58, 0.56)),
        water=((0.56, 0.76, 0.88), (0.36, 0.54, 0.72)),
        leaf=((0.14, 0.32, 0.30), (0.20, 0.40, 0.32)),
        roof=((0.94, 0.96, 1.0), (0.88, 0.92, 0.98)),
        wall=((0.50, 0.32, 0.22), (0.62, 0.22, 0.20), (0.36, 0.42, 0.52)),
        accent=((0.82, 0.16, 0.18), (0.20, 0.40, 0.66), (0.94, 0.74, 0.30)),
        rock=(0.62, 0.66, 0.74),
    ),
    "coast": Palette(
        ground=((0.94, 0.85, 0.63), (0.90, 0.78, 0.56), (0.96, 0.90, 0.76)),
        patch=((0.66, 0.72, 0.40), (0.86, 0.76, 0.52), (0.78, 0.78, 0.50)),
        path=((0.98, 0.93, 0.80), (0.70, 0.56, 0.40)),
        water=((0.10, 0.60, 0.70), (0.10, 0.46, 0.70), (0.20, 0.66, 0.62)),
        leaf=((0.22, 0.56, 0.26), (0.34, 0.60, 0.22)),
        roof=((0.90, 0.36, 0.28), (0.94, 0.94, 0.92), (0.22, 0.52, 0.66)),
        wall=((0.98, 0.76, 0.40), (0.44, 0.72, 0.86), (0.96, 0.60, 0.60), (0.97, 0.96, 0.93)),
        accent=_BRIGHT,
        trunk=(0.56, 0.42, 0.28),
        rock=(0.52, 0.50, 0.50),
    ),
    "garden": Palette(
        ground=((0.42, 0.56, 0.30), (0.50, 0.58, 0.36), (0.62, 0.60, 0.46)),
        patch=((0.80, 0.64, 0.66), (0.54, 0.64, 0.34), (0.72, 0.70, 0.58)),
        path=((0.86, 0.81, 0.75), (0.62, 0.60, 0.60)),
        water=((0.30, 0.48, 0.58), (0.36, 0.46, 0.62)),
        leaf=((0.97, 0.70, 0.79), (0.98, 0.84, 0.88), (0.84, 0.28, 0.26), (0.94, 0.66, 0.74)),
        roof=((0.26, 0.30, 0.36), (0.20, 0.34, 0.34), (0.44, 0.24, 0.22)),
        wall=((0.95, 0.90, 0.82), (0.88, 0.80, 0.68), (0.74, 0.30, 0.24)),
        accent=((0.82, 0.22, 0.16), (0.90, 0.50, 0.20)),
        trunk=(0.30, 0.20, 0.18),
        rock=(0.52, 0.53, 0.52),
    ),
}


def ramp(colors: Sequence[Color], at: float) -> Color:
    """The colour at `at`, 0 to 1, along evenly spaced `colors`."""
    place = min(max(at, 0.0), 1.0) * (len(colors) - 1)
    low = min(int(place), len(colors) - 2) if len(colors) > 1 else 0
    high = min(low + 1, len(colors) - 1)
    part = place - low
    a, b = colors[low], colors[high]
    return (a[0] + (b[0] - a[0]) * part, a[1] + (b[1] - a[1]) * part, a[2] + (b[2] - a[2]) * part)
