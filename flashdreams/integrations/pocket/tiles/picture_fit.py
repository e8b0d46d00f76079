"""Makes what was read of a picture agree with it better: hour and clouds by its sky, own colours by what is drawn."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from torch import Tensor

from flashdreams.integrations.pocket.land.camera import camera_rays
from flashdreams.integrations.pocket.land.sky import sky_color, sky_fields
from flashdreams.integrations.pocket.tiles.observation import COLUMNS, ROWS
from flashdreams.integrations.pocket.tiles.picture import Picture, bearing

_HOURS = np.arange(0, 24, 0.5)
_CLOUDS = (0.1, 0.3, 0.5, 0.75)
_SKY_ERROR = 0.08
"""Error of the mean colours of a sky's rows that is as likely as not, 0 to 1."""
_CLOUD_ERROR = 0.25
_FEWEST = 60
"""Spots of sky from which it is looked at."""
_PASSES, _STEP = 3, 0.8


def with_sky(picture: Picture, pixels: Tensor, sky: Tensor, hours: Tensor) -> Picture:
    """Return `picture` with the hour and clouds whose sky is likeliest.

    `pixels [3, 36, 64]` are its own, `sky [36, 64]` is True where they show the sky, and `hours [24]` tells how likely
    each hour is by everything else.
    """
    if int(sky.sum()) < _FEWEST:
        return picture
    azimuth = picture.heading + bearing(picture.hour)
    rays = camera_rays(picture.pose, COLUMNS, ROWS)
    weights = sky.float() / sky.float().sum(1, keepdim=True).clamp_min(1)
    counted = sky.float().sum(1)
    own = (pixels * weights).sum(2)
    best: tuple[float, Picture] | None = None
    for hour in _HOURS.tolist():
        low, part = int(hour), hour % 1
        likely = float((1 - part) * hours[low] + part * hours[(low + 1) % 24])
        for clouds in _CLOUDS:
            heading = round(math.remainder(azimuth - bearing(hour), 2 * math.pi), 3)
            found = replace(picture, hour=hour, clouds=clouds, heading=heading)
            light = found.light()
            drawn = (sky_color(sky_fields(rays, light), light).clamp(0, 1) * weights).sum(2)
            error = float(((drawn - own).square().mean(0) * counted).sum() / counted.sum())
            cost = error / (2 * _SKY_ERROR**2) - math.log(max(likely, 1e-4))
            cost += (clouds - picture.clouds) ** 2 / (2 * _CLOUD_ERROR**2)
            if best is None or cost < best[0]:
                best = cost, found
    assert best is not None
    return best[1]


def with_colors(picture: Picture, pixels: Tensor, draw: Callable[[Picture], Tensor]) -> Picture:
    """Return `picture` with own colours such that what `draw` makes of it is like `pixels [3, 36, 64]`."""
    light = picture.light()
    strength = min(max(light.ambient + 0.5 * light.sunlight, 0.2), 1.0)
    best = picture, math.inf
    for step in range(_PASSES + 1):
        error = pixels - draw(picture)
        sights = picture.spots()
        there = (sights.share.sum(0) > 0.5).float()
        squared = float((error.square() * there).mean())
        if squared < best[1]:
            best = picture, squared
        if step < _PASSES:
            color = sights.color + 2 * _STEP / strength * error * there
            picture = picture.with_spots(replace(sights, color=color.clamp(-1, 1)))
    return best[0]
