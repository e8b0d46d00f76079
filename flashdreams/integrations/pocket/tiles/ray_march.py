"""Rays of a view walk through an occupancy grid to the first solid spot.

They share a fan of vertical planes through the camera: the occupancy is read once along the fan, all levels together,
and every ray then looks its heights up in its own plane. Most of the fan is empty at every level: only what is not is
looked up, in blocks of neighbouring rays, each of which needs about as many distances as the others.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.integrations.pocket.land.state import CELL, HIGH, LEVELS

FAR = 1.0e4
"""Distance in metres of a ray that meets nothing."""
_PLANES = 256
"""Planes of the fan."""
_SAMPLES = 72
"""Distances along a plane."""
_SOLID = -0.2
"""Occupancy from which a ray stops: thin things never reach 0 between cells."""
_NOTHING = -0.999
"""Occupancy up to which nothing is there: between empty cells it is rounded."""
_BELOW = -0.05
"""Metres of height under which no ray goes on; above the state none does."""
_BLOCK = 24, 32
"""Rows and columns of rays that are looked up together: their numbers then fit in the processor's cache."""


class Ends(NamedTuple):
    """Ends of rays `[R]`."""

    level: Tensor
    """Level distance in metres to the first solid spot; `FAR` where there is none."""
    missed: Tensor
    """Highest occupancy before it."""
    missed_level: Tensor
    """Level distance in metres where that is."""


class _Fan(NamedTuple):
    """The occupancy along planes through a camera."""

    values: Tensor
    """`[planes * samples * levels]`"""
    order: Tensor
    """`[planes, samples]`: places of the samples of a plane that are not empty at every level, the nearest first."""
    counts: Tensor
    """`[planes, samples]`: how many of these there are up to and with each sample."""


def march(occupancy: Tensor, centre: tuple[float, float], origin: Tensor, rays: Tensor) -> Ends:
    """Return where `rays [3, h, w]` (east, up, north) from `origin [3]` meet something solid.

    `occupancy [L, H, H]` lies around `centre` (x and z in metres), -1 where it is empty and 1 where it is solid.
    """
    return approach(occupancy, centre, origin, rays, _SOLID)[1]


def approach(
    occupancy: Tensor, centre: tuple[float, float], origin: Tensor, rays: Tensor, near: float
) -> tuple[Tensor, Ends]:
    """Return the level distances `[h * w]` at which rays first meet an occupancy above `near`, and what `march` does.

    `FAR` where there is none.
    """
    rows, columns = rays.shape[1:]
    azimuth = torch.atan2(rays[0], rays[2])
    middle = torch.atan2(rays[0].mean(), rays[2].mean())
    relative = torch.remainder(azimuth - middle + math.pi, 2 * math.pi) - math.pi
    low, high = relative.min(), relative.max()
    steps = _distances()
    fan = _fan(occupancy, centre, origin, middle + torch.lerp(low, high, torch.linspace(0, 1, _PLANES)), steps)
    plane = ((relative - low) / (high - low).clamp_min(1e-6) * (_PLANES - 1)).round().long()
    slope = rays[1] / (rays[0] ** 2 + rays[2] ** 2).sqrt().clamp_min(1e-4)
    size = math.gcd(rows, _BLOCK[0]), math.gcd(columns, _BLOCK[1])
    planes, slopes = _blocks(plane, size), _blocks(slope, size)
    leaving = torch.searchsorted(steps, _leaving(origin[1], slopes).amax(1)).clamp_max(_SAMPLES - 1)
    counts = fan.counts[planes, leaving[:, None]]
    most = counts.amax(1).clamp_min(1).tolist()
    found = [
        _first(fan, steps, origin[1], plane_of, slope_of, count, longest, near)
        for plane_of, slope_of, count, longest in zip(planes, slopes, counts, most, strict=True)
    ]
    close, *ends = (_whole(torch.stack(each), size, columns).flatten() for each in zip(*found, strict=True))
    return close, Ends(*ends)


def _distances() -> Tensor:
    """`[72]` level distances: dense near the camera."""
    return 0.25 + 15.5 * (torch.exp(0.0195 * torch.arange(_SAMPLES)) - 1)


def _fan(occupancy: Tensor, centre: tuple[float, float], origin: Tensor, planes: Tensor, steps: Tensor) -> _Fan:
    """Read `occupancy` along `planes`, azimuths, at level distances `steps` from `origin`."""
    reach = occupancy.shape[-1] * CELL / 2
    x = (origin[0] - centre[0] + planes.sin()[:, None] * steps) / reach
    z = (origin[2] - centre[1] + planes.cos()[:, None] * steps) / reach
    fan = F.grid_sample(occupancy[None], torch.stack([x, z], -1)[None], padding_mode="border", align_corners=False)[0]
    occupied = fan.amax(0) > _NOTHING
    order = occupied.byte().argsort(dim=1, descending=True, stable=True)
    return _Fan(fan.permute(1, 2, 0).flatten(), order, occupied.cumsum(1))


def _leaving(height: Tensor, slopes: Tensor) -> Tensor:
    """Return the level distances at which rays of `slopes` from `height` leave the state through its floor or roof."""
    down, up = (_BELOW - height) / slopes.clamp_max(-1e-6), (HIGH - height) / slopes.clamp_min(1e-6)
    return torch.where((down < 0) | (up < 0), FAR, torch.where(slopes < 0, down, up))


def _first(
    fan: _Fan, steps: Tensor, height: Tensor, plane: Tensor, slope: Tensor, count: Tensor, most: int, near: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return `approach` of rays with `plane`, `slope` and `count` of samples to look up, each `[R]`, `most` at most."""
    sample = fan.order[:, :most].index_select(0, plane)
    level = steps[sample]
    value = _values(fan, height, plane, slope, sample, level)
    value.masked_fill_(torch.arange(most) >= count[:, None], -1.0)
    ends, index = _reached(steps, sample, value, _SOLID)
    close = ends if near == _SOLID else _reached(steps, sample, value, near)[0]
    value.masked_fill_(torch.arange(most) >= torch.where(ends < FAR, index, most)[:, None], -1.0)
    missed, missed_index = value.max(1, keepdim=True)
    return close, ends, missed[:, 0], level.gather(1, missed_index)[:, 0]


def _reached(steps: Tensor, sample: Tensor, value: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Return the level distances `[R]` at which `value [R, K]` first reaches a threshold, and after which sample."""
    above = value > threshold
    index = above.int().argmax(1, keepdim=True)
    hit, at, here = (each.gather(1, index)[:, 0] for each in (above, sample, value))
    previous = (index - 1).clamp_min(0)
    # The sample before the one that reaches it is empty where it was left out.
    known = (sample.gather(1, previous)[:, 0] == at - 1) | (at == 0)
    before = torch.where(known, value.gather(1, previous)[:, 0], -1.0)
    part = ((threshold - before) / (here - before).clamp_min(1e-4)).clamp(0, 1)
    return torch.where(hit, torch.lerp(steps[(at - 1).clamp_min(0)], steps[at], part), FAR), index[:, 0]


def _values(fan: _Fan, height: Tensor, plane: Tensor, slope: Tensor, sample: Tensor, level: Tensor) -> Tensor:
    """Return occupancies `[R, K]` at level distances `level` of rays, between the two nearest levels."""
    heights = torch.addcmul(height, slope[:, None], level)
    upward = (heights / CELL).sub_(0.5).clamp_(0, LEVELS - 1.001)
    below = upward.long()
    upward.sub_(below)
    below.add_(sample + plane[:, None] * _SAMPLES, alpha=LEVELS)
    value = fan.values[below].lerp_(fan.values[below.add_(1)], upward)
    return value.masked_fill_((heights > HIGH) | (heights < _BELOW), -1.0)


def _blocks(image: Tensor, size: tuple[int, int]) -> Tensor:
    """`[N, rows * columns of a block]` of an `image [h, w]`."""
    return image.unflatten(1, (-1, size[1])).unflatten(0, (-1, size[0])).transpose(1, 2).flatten(2).flatten(0, 1)


def _whole(blocks: Tensor, size: tuple[int, int], columns: int) -> Tensor:
    """The inverse of `_blocks`: `[h, w]`."""
    parts = blocks.unflatten(1, size).unflatten(0, (-1, columns // size[1]))
    return parts.transpose(1, 2).flatten(2).flatten(0, 1)
