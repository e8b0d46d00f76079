"""Light and weather of a world at one time: sun or moon, sky, haze, clouds, and how much lamps matter."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from flashdreams.integrations.pocket.land.camera import THICK
from flashdreams.integrations.pocket.land.kinds import Color

LIGHT = 24
"""Entries of a light's vector."""
SKYLINE_COLUMNS = 720
"""Bearings at which a skyline is known."""
SUNRISE, SUNSET = 5.25, 19.25
"""Hours at which sun and moon take turns."""
_DUSK = 0.75
"""Hours before and after these in which the light of one ends and that of the other begins."""
_SINKS = 34.0
"""Degrees that sun and moon are lower in between than by their arcs."""
_SWEEP = 150.0
"""Degrees of bearing from where they rise to where they set."""
_SCATTERED = 0.45
"""Share of the light that they lack by then that comes from all sides instead."""


@dataclass(frozen=True, eq=False)
class Skyline:
    """Hills all around: upward components of the directions in which they end, by bearing."""

    far: Tensor
    """`[720]`, half a degree each, from south over west, north and east."""
    near: Tensor
    """`[720]`"""
    colors: tuple[Color, Color] | None = None
    """Of the far and the near hills, in mist too; None for those that the light makes of them."""

    def heights(self, azimuth: Tensor) -> tuple[Tensor, Tensor]:
        """Return those of the far and the near hills at `azimuth [...]`, radians from north to east."""
        place = (azimuth / (2 * math.pi) + 0.5) * SKYLINE_COLUMNS
        low = place.floor()
        here, there = low.long() % SKYLINE_COLUMNS, (low.long() + 1) % SKYLINE_COLUMNS
        return (torch.lerp(self.far[here], self.far[there], place - low),
                torch.lerp(self.near[here], self.near[there], place - low))  # fmt: skip


@dataclass(frozen=True)
class Light:
    """Everything that decides how a state looks, beside the state itself."""

    hour: float
    """Time of day, 0 to 24."""
    sun_dir: tuple[float, float, float]
    """Unit vector to the sun or the moon: east, up, north."""
    sun: Color
    zenith: Color
    horizon: Color
    ridge: Color
    """Colour of the far hills."""
    sunlight: float
    ambient: float
    haze: float
    """Fog, 1 in so many metres."""
    clouds: float
    """Cover, 0 to 1."""
    lamps: float
    """Strength of lamps and windows, 0 to 1."""
    stars: float
    drift: tuple[float, float] = (0.0, 0.0)
    """Position of the clouds, in metres."""
    ridges: tuple[float, float] = (0.0, 0.1)
    """Phase and height of the far hills."""
    skyline: Skyline | None = None
    """Hills by bearing, in place of these."""
    thick: float = THICK
    """Metres at which the distance itself becomes mist."""
    sun_size: float = 0.065
    """Radius of the sun's or the moon's disc, in radians."""
    sun_glow: float = 0.55
    """Share of the sun's colour in the sky beside it."""
    aurora: float = 0.0
    """Strength, 0 to 1."""
    fitted: tuple[float, ...] | None = None
    """The vector in place of the one that follows from all this, see `training.fit_places`."""

    @property
    def own_hills(self) -> Skyline | None:
        """The skyline if it has colours of its own, which mist has too."""
        return None if self.skyline is None or self.skyline.colors is None else self.skyline

    def vector(self) -> Tensor:
        """Return the entries that a network of views is told: `[24]`, of the order of 1."""
        if self.fitted is not None:
            return torch.tensor(self.fitted)
        rows = [
            *self.sun_dir, *self.sun, *self.zenith, *self.horizon, *self.ridge, self.sunlight, self.ambient,
            self.haze * 20, self.clouds, self.lamps, self.stars, math.sin(self.hour / 24 * 2 * math.pi),
            math.cos(self.hour / 24 * 2 * math.pi), self.ridges[1] * 5,
        ]  # fmt: skip
        return torch.tensor(rows, dtype=torch.float32)


_TIMES: tuple[tuple[float, Color, Color, Color, float, float], ...] = (
    # hour, zenith, horizon, sun, sunlight, ambient
    (0.0, (0.03, 0.05, 0.14), (0.13, 0.16, 0.32), (0.80, 0.86, 1.00), 0.16, 0.30),
    (4.5, (0.05, 0.08, 0.20), (0.26, 0.24, 0.42), (0.84, 0.84, 1.00), 0.14, 0.32),
    (6.0, (0.32, 0.38, 0.66), (0.98, 0.70, 0.56), (1.00, 0.80, 0.56), 0.46, 0.44),
    (8.0, (0.26, 0.52, 0.86), (0.84, 0.90, 0.94), (1.00, 0.94, 0.80), 0.56, 0.54),
    (12.0, (0.16, 0.46, 0.86), (0.76, 0.89, 0.97), (1.00, 0.98, 0.90), 0.60, 0.58),
    (16.5, (0.24, 0.48, 0.82), (0.86, 0.88, 0.90), (1.00, 0.92, 0.74), 0.58, 0.54),
    (18.5, (0.28, 0.30, 0.58), (0.99, 0.62, 0.38), (1.00, 0.74, 0.42), 0.54, 0.42),
    (20.0, (0.10, 0.12, 0.32), (0.52, 0.36, 0.50), (0.92, 0.70, 0.70), 0.18, 0.34),
    (21.5, (0.04, 0.06, 0.17), (0.16, 0.18, 0.36), (0.80, 0.86, 1.00), 0.15, 0.30),
    (24.0, (0.03, 0.05, 0.14), (0.13, 0.16, 0.32), (0.80, 0.86, 1.00), 0.16, 0.30),
)


def light_at(
    hour: float,
    *,
    heading: float = 0.0,
    clouds: float = 0.3,
    haze: float = 0.01,
    drift: tuple[float, float] = (0.0, 0.0),
    ridges: tuple[float, float] = (0.0, 0.1),
) -> Light:
    """The light at `hour` (0 to 24); `heading` in radians is where the sun stands at noon."""
    hour %= 24
    index = max(i for i, row in enumerate(_TIMES[:-1]) if row[0] <= hour)
    a, b = _TIMES[index], _TIMES[index + 1]
    part = (hour - a[0]) / (b[0] - a[0])
    zenith, horizon, sun = (np.array(a[i]) + part * (np.array(b[i]) - np.array(a[i])) for i in (1, 2, 3))
    sunlight, ambient = a[4] + part * (b[4] - a[4]), a[5] + part * (b[5] - a[5])
    elevation, azimuth, there = _key_light(hour)
    sunlight, ambient = sunlight * there, ambient + _SCATTERED * sunlight * (1 - there)
    azimuth += heading
    grey = 0.55 * max(0.0, clouds - 0.45) / 0.55
    mean_z, mean_h = float(zenith.mean()), float(horizon.mean())
    zenith = zenith + grey * (0.6 * mean_z + 0.25 * mean_h - zenith)
    horizon = horizon + grey * (0.9 * mean_h - horizon)
    sunlight *= 1 - 0.8 * grey
    night = 1 - float(np.clip((hour - 5.0) / 1.5, 0, 1) * np.clip((20.3 - hour) / 1.6, 0, 1))
    ridge = 0.45 * zenith + 0.4 * horizon * np.array([0.85, 0.95, 1.0])
    return Light(
        hour, (math.sin(azimuth) * math.cos(elevation), math.sin(elevation), math.cos(azimuth) * math.cos(elevation)),
        _color(sun), _color(zenith), _color(horizon), _color(ridge), sunlight, ambient, haze, clouds, night,
        night * (1 - clouds), drift, ridges,
    )  # fmt: skip


def _key_light(hour: float) -> tuple[float, float, float]:
    """Return elevation and azimuth, in radians, of the sun or the moon, and the share of its light that is there.

    One sinks below the horizon and its light ends before the direction turns to where the other rises.
    """
    day = SUNRISE <= hour < SUNSET
    share = (hour - SUNRISE) / (SUNSET - SUNRISE) if day else ((hour - SUNSET) % 24) / (24 - SUNSET + SUNRISE)
    elevation, azimuth = 7 + (50 if day else 32) * math.sin(math.pi * share), (share - 0.5) * _SWEEP
    # 0 at the turn from one to the other, 1 where dusk begins or dawn has ended.
    off = min(abs((hour - turn + 12) % 24 - 12) for turn in (SUNRISE, SUNSET)) / _DUSK
    if off < 1:
        elevation -= _SINKS * (1 - _smooth((off - 0.3) / 0.7))
    if off < 0.5:
        azimuth *= _smooth(2 * off)  # both arcs end as far from noon's bearing, on either side
    return math.radians(elevation), math.radians(azimuth), _smooth(2 * off - 1)


def _smooth(x: float) -> float:
    x = min(max(x, 0.0), 1.0)
    return x * x * (3 - 2 * x)


def random_light(rng: np.random.Generator) -> Light:
    """Any light: mostly by day, a third in the evening, at night or in the morning."""
    hour = rng.choice([rng.uniform(7, 17.5), rng.uniform(17, 20.5), rng.uniform(0, 24)], p=[0.5, 0.25, 0.25])
    return light_at(
        float(hour), heading=float(rng.uniform(-math.pi, math.pi)), clouds=float(rng.beta(1.3, 1.8)),
        haze=float(rng.choice([rng.uniform(0.004, 0.016), rng.uniform(0.016, 0.05)], p=[0.8, 0.2])),
        drift=tuple(float(v) for v in rng.uniform(0, 512, 2)),  # type: ignore[arg-type]
        ridges=(float(rng.uniform(0, 6.28)), float(rng.uniform(0.02, 0.16))),
    )  # fmt: skip


def _color(rgb: np.ndarray) -> Color:
    r, g, b = (float(v) for v in np.clip(rgb, 0, 1))
    return (r, g, b)
