"""The sky by direction: clouds, far hills and stars, as fields; and the true colours made of them."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.integrations.pocket.land.light import LIGHT, Light

_CLOUD_SIDE, _CLOUD_METRES = 256, 1024.0
_FEW_CLOUDS = 0.05
_HORIZON_UP = 0.02
"""Upward component of the direction of which mist has its colour."""
SKY_FIELDS = 6
"""Upward component, cloud, far and near hills, towards the sun, stars."""
_SUN, _ZENITH, _HORIZON, _RIDGE = slice(3, 6), slice(6, 9), slice(9, 12), slice(12, 15)


@lru_cache(maxsize=1)
def _cloud_texture() -> Tensor:
    """`[1, 1, 256, 256]` noise that repeats, about -1..1."""
    generator, total = torch.Generator().manual_seed(5), torch.zeros(1, 1, _CLOUD_SIDE, _CLOUD_SIDE)
    for size, weight in ((8, 1.0), (16, 0.6), (32, 0.35), (64, 0.2)):
        noise = F.pad(torch.randn(1, 1, size, size, generator=generator), (2, 2, 2, 2), mode="circular")
        scale = _CLOUD_SIDE // size
        fine = F.interpolate(noise, scale_factor=scale, mode="bicubic")
        total += weight * fine[:, :, 2 * scale : -2 * scale, 2 * scale : -2 * scale]
    return total / total.std()


def sky_fields(direction: Tensor, light: Light) -> Tensor:
    """`[6, ...]` fields in unit directions `[3, ...]` (east, up, north)."""
    x, up, z = direction
    above = up.clamp_min(0.03)
    u = (x / above * 120 + light.drift[0]) / _CLOUD_METRES
    v = (z / above * 120 + light.drift[1]) / _CLOUD_METRES
    grid = torch.stack([(u - u.floor()) * 2 - 1, (v - v.floor()) * 2 - 1], -1).reshape(1, 1, -1, 2)
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
    cell = torch.sin(azimuth * 37 + 3 * torch.sin(up * 23)) * torch.sin(up * 41 + 2 * torch.sin(azimuth * 19))
    star = _smooth((cell - 0.93) / 0.055) * _smooth((up - 0.16) / 0.24) * light.stars
    return torch.stack([up, cloud, up - far, up - near, toward, star])


def horizon_fields(direction: Tensor, light: Light) -> Tensor:
    """`[6, ...]` fields of a clear horizon without hills, of which mist has its colour, in directions `[3, ...]`."""
    none = torch.zeros_like(direction[1])
    return torch.stack([none + _HORIZON_UP, none, none + 1, none + 1, _toward_sun(direction, light), none])


def horizon_glow(direction: Tensor, light: Light) -> Tensor:
    """`[...]`: how much the sun's colour is in that of `horizon_fields`, 0 to 1, in directions `[3, ...]`."""
    toward = _toward_sun(direction, light)
    return torch.lerp(_glow(toward), torch.ones(()), _disc(toward))


def horizon_colors(light: Light) -> tuple[Tensor, Tensor]:
    """True colours `[3]` of `horizon_fields` without any glow, and in its full glow."""
    vector = light.vector()
    return torch.lerp(vector[_HORIZON], vector[_ZENITH], _HORIZON_UP**0.55 * 1.15), vector[_SUN]


def _toward_sun(direction: Tensor, light: Light) -> Tensor:
    x, up, z = direction
    sun = light.sun_dir
    return x * sun[0] + up * sun[1] + z * sun[2]


def _glow(toward: Tensor) -> Tensor:
    return (0.55 * torch.exp((toward - 1) * 14)).clamp_(0, 1)


def _disc(toward: Tensor) -> Tensor:
    return _smooth((toward - math.cos(0.075)) / (math.cos(0.055) - math.cos(0.075)))


def sky_color(fields: Tensor, light: Tensor) -> Tensor:
    """True colours `[3, ...]` of `fields [6, ...]` in a light of vector `[24]`."""
    assert light.shape == (LIGHT,)
    up, cloud, far, near, toward, star = fields

    def rgb(part: slice) -> Tensor:
        return light[part].view(3, *[1] * up.dim())

    sun, zenith, horizon, ridge = rgb(_SUN), rgb(_ZENITH), rgb(_HORIZON), rgb(_RIDGE)
    color = horizon + (zenith - horizon) * (up.clamp_min(0) ** 0.55 * 1.15)
    clear = 1 - 0.8 * cloud
    glow = _glow(toward) * clear
    color = color + (sun - color) * glow
    disc = _disc(toward) * clear
    color = color + (sun - color) * disc + 0.7 * star * clear
    lit = 0.62 * horizon + 0.38 * (0.35 + 0.65 * sun) * (0.35 + light[15])
    color = color + (lit - color) * (0.85 * cloud)
    color = color + (0.6 * ridge + 0.4 * horizon - color) * _smooth(0.5 - far / 0.012)
    return color + (ridge * 0.85 - color) * _smooth(0.5 - near / 0.012)


def _smooth(x: Tensor) -> Tensor:
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)
