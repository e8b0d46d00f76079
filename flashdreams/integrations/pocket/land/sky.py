"""The sky by direction: clouds, far hills and stars, as fields; and the true colours made of them."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.integrations.pocket.land.kinds import Color
from flashdreams.integrations.pocket.land.light import Light

_CLOUD_SIDE, _CLOUD_METRES = 256, 1024.0
_FEW_CLOUDS = 0.05
_EDGE = 0.15
"""Share of the radius of the sun's disc over which it ends."""
_HORIZON_UP = 0.02
"""Upward component of the direction of which mist has its colour."""
SKY_FIELDS = 6
"""Upward component, cloud, far and near hills, towards the sun, stars."""


@lru_cache(maxsize=1)
def _cloud_texture() -> Tensor:
    """`[1, 1, 258, 258]` noise that repeats, about -1..1, with a row and a column of the next period on all sides."""
    generator, total = torch.Generator().manual_seed(5), torch.zeros(1, 1, _CLOUD_SIDE, _CLOUD_SIDE)
    for size, weight in ((8, 1.0), (16, 0.6), (32, 0.35), (64, 0.2)):
        noise = F.pad(torch.randn(1, 1, size, size, generator=generator), (2, 2, 2, 2), mode="circular")
        scale = _CLOUD_SIDE // size
        fine = F.interpolate(noise, scale_factor=scale, mode="bicubic")
        total += weight * fine[:, :, 2 * scale : -2 * scale, 2 * scale : -2 * scale]
    return F.pad(total / total.std(), (1, 1, 1, 1), mode="circular")


def sky_fields(direction: Tensor, light: Light) -> Tensor:
    """`[6, ...]` fields in unit directions `[3, ...]` (east, up, north)."""
    x, up, z = direction
    above = up.clamp_min(0.03)
    u = (x / above * 120 + light.drift[0]) / _CLOUD_METRES
    v = (z / above * 120 + light.drift[1]) / _CLOUD_METRES
    inside = _CLOUD_SIDE / (_CLOUD_SIDE + 2)
    grid = (torch.stack([u - u.floor(), v - v.floor()], -1) * 2 - 1).mul_(inside).reshape(1, 1, -1, 2)
    noise = F.grid_sample(_cloud_texture(), grid, padding_mode="border", align_corners=False).reshape(up.shape)
    cloud = _smooth((noise - 1.3 + 2.6 * light.clouds) * 1.2 + 0.5) * _smooth((up - 0.03) / 0.16)
    cloud = cloud * min(light.clouds / _FEW_CLOUDS, 1.0)  # none at all in a sky without clouds
    azimuth, (phase, height) = torch.atan2(x, z), light.ridges
    if light.skyline is None:
        far = 0.62 + 0.3 * torch.sin(azimuth * 3 + phase) + 0.2 * torch.sin(azimuth * 7 + 2 * phase + 2)
        near = 0.30 + 0.2 * torch.sin(azimuth * 2 - 3 * phase - 1.1) + 0.14 * torch.sin(azimuth * 5 + phase + 0.4)
        far, near = height * far, height * near
    else:
        far, near = light.skyline.heights(azimuth)
    toward = _toward_sun(direction, light)
    return torch.stack([up, cloud, up - far, up - near, toward, _stars(azimuth, up, light.stars)])


def _stars(azimuth: Tensor, up: Tensor, strength: float) -> Tensor:
    """`[...]`: 0 where there is none."""
    if strength == 0:
        return torch.zeros_like(up)
    cell = torch.sin(azimuth * 37 + 3 * torch.sin(up * 23)) * torch.sin(up * 41 + 2 * torch.sin(azimuth * 19))
    return _smooth((cell - 0.93) / 0.055) * _smooth((up - 0.16) / 0.24) * strength


def mist_color(direction: Tensor, light: Light) -> Tensor:
    """True colours `[3, ...]` of mist in directions `[3, ...]`, see `horizon_fields`."""
    if light.own_hills is not None:
        return sky_color(horizon_fields(direction, light), light)
    shape = (3, *[1] * (direction.dim() - 1))
    sun, zenith, horizon = (torch.tensor(color).view(shape) for color in (light.sun, light.zenith, light.horizon))
    toward = _toward_sun(direction, light)
    glow = torch.lerp(_glow(toward, light), torch.ones(()), _disc(toward, light))
    return torch.lerp(torch.lerp(horizon, zenith, _HORIZON_UP**0.55 * 1.15), sun, glow)


def horizon_fields(direction: Tensor, light: Light) -> Tensor:
    """`[6, ...]` fields of a clear horizon, of which mist has its colour, in directions `[3, ...]`.

    Without hills, but for those of a skyline with colours of its own.
    """
    none = torch.zeros_like(direction[1])
    far, near = none + 1, none + 1
    if light.own_hills is not None:
        heights = light.own_hills.heights(torch.atan2(direction[0], direction[2]))
        far, near = (_HORIZON_UP - height for height in heights)
    return torch.stack([none + _HORIZON_UP, none, far, near, _toward_sun(direction, light), none])


def _toward_sun(direction: Tensor, light: Light) -> Tensor:
    x, up, z = direction
    sun = light.sun_dir
    return x * sun[0] + up * sun[1] + z * sun[2]


def _glow(toward: Tensor, light: Light) -> Tensor:
    return (light.sun_glow * torch.exp((toward - 1) * 14)).clamp_(0, 1)


def _disc(toward: Tensor, light: Light) -> Tensor:
    inner, outer = (math.cos(light.sun_size * share) for share in (1 - _EDGE, 1 + _EDGE))
    return _smooth((toward - outer) / (inner - outer))


def sky_color(fields: Tensor, light: Light, direction: Tensor | None = None) -> Tensor:
    """True colours `[3, ...]` of `fields [6, ...]`; an aurora only shows if the `direction [3, ...]` is given too."""
    up, cloud, far, near, toward, star = fields

    def rgb(color: Color) -> Tensor:
        return torch.tensor(color).view(3, *[1] * up.dim())

    sun, zenith, horizon, ridge = (rgb(color) for color in (light.sun, light.zenith, light.horizon, light.ridge))
    far_hills, near_hills = 0.6 * ridge + 0.4 * horizon, ridge * 0.85
    if light.own_hills is not None and light.own_hills.colors is not None:
        far_hills, near_hills = (rgb(color) for color in light.own_hills.colors)
    color = horizon + (zenith - horizon) * (up.clamp_min(0) ** 0.55 * 1.15)
    clear = 1 - 0.8 * cloud
    glow = _glow(toward, light) * clear
    color = color + (sun - color) * glow
    color = color + (sun - color) * (_disc(toward, light) * clear)
    if light.aurora and direction is not None:
        share, green = _aurora(direction)
        color = color + (green - color) * (light.aurora * share * clear)
    color = color + 0.7 * star * clear
    lit = 0.62 * horizon + 0.38 * (0.35 + 0.65 * sun) * (0.35 + light.sunlight)
    color = color + (lit - color) * (0.85 * cloud)
    color = color + (far_hills - color) * _smooth(0.5 - far / 0.012)
    return color + (near_hills - color) * _smooth(0.5 - near / 0.012)


def _aurora(direction: Tensor) -> tuple[Tensor, Tensor]:
    """Share `[...]` and colours `[3, ...]` of an aurora in directions `[3, ...]`."""
    azimuth, up = torch.atan2(direction[0], direction[2]), direction[1]
    curtain = 0.5 + 0.5 * torch.sin(azimuth * 5 + 1.4 * torch.sin(azimuth * 2 + 1) + up * 3)
    band = _smooth((up + 0.06 * torch.sin(azimuth * 3) - 0.22) / 0.2) * _smooth((0.95 - up) / 0.5)
    return 0.7 * band * curtain, torch.stack([0.25 + 0.3 * up, 0.85 - 0.2 * up, 0.62 + 0.2 * up])


def _smooth(x: Tensor) -> Tensor:
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)
