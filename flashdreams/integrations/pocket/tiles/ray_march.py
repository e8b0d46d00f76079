"""Rays of a view walk through an occupancy grid to the first solid spot.

They share a fan of vertical planes through the camera: the occupancy is read once along the fan, all levels together.
Rays then go through it in rounds, some distances in each. Most of the fan is empty: bits tell at which heights there
is something at any distance of a round, and only rays that pass there and have not ended look their values up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.integrations.pocket.land.state import CELL, HIGH, LEVELS
from flashdreams.integrations.pocket.tiles.rays import Rays

FAR = 1.0e4
"""Distance in metres of a ray that meets nothing."""
_PLANES = 256
"""Planes of the fan."""
_SAMPLES = 72
"""Distances along a plane."""
_NEAREST = 0.25
"""The least of the distances, in metres."""
_ABOVE = _PLANES * _SAMPLES
"""Numbers of the fan from one level to the next."""
_SOLID = -0.2
"""Occupancy from which a ray stops: thin things never reach 0 between cells."""
_NOTHING = -0.999
"""Occupancy up to which nothing is there: between empty cells it is rounded."""
_BELOW = -0.05
"""Metres of height under which no ray goes on; above the state none does."""
_ROUND = 18
"""Distances of a round."""


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
    """`[levels * planes * samples]`"""
    some: Tensor
    """`[rounds, planes]`: bit s + 1 tells that there is something between levels s - 1 and s; bits 0 and 18 are 0."""


class _Found(NamedTuple):
    """Where rays `[R]` have got so far."""

    close: Tensor
    level: Tensor
    missed: Tensor
    missed_level: Tensor


def march(occupancy: Tensor, centre: tuple[float, float], rays: Rays) -> Ends:
    """Return where `rays` meet something solid.

    `occupancy [L, H, H]` lies around `centre` (x and z in metres), -1 where it is empty and 1 where it is solid.
    """
    return approach(occupancy, centre, rays, _SOLID)[1]


def approach(occupancy: Tensor, centre: tuple[float, float], rays: Rays, near: float) -> tuple[Tensor, Ends, Course]:
    """Return the level distances `[h * w]` at which rays first meet an occupancy above `near`, and what `march` does.

    `FAR` where there is none. `near` is at most that of what is solid. The last result tells where rays that go on
    come near to something again.
    """
    steps = _distances()
    fan = _fan(occupancy, centre, rays, steps)
    plane = (rays.share() * (_PLANES - 1)).round().int().flatten()
    slope = (rays.direction[1] / rays.horizontal).flatten()
    height = rays.origin[1]
    active = _active(fan, steps, height, plane, slope)
    count = len(plane)
    far = torch.full((count,), FAR)
    found = _Found(far, far.clone(), torch.full((count,), -1.0), torch.full((count,), _NEAREST))
    before, first = torch.full((count,), -1.0), plane * _SAMPLES
    for number, passing in enumerate(active):
        rows = (passing & (found.level == FAR)).nonzero()[:, 0]
        samples = slice(number * _ROUND, (number + 1) * _ROUND)
        begin, own_slope, earlier = (x.index_select(0, rows) for x in (first, slope, before))
        value = _values(fan, height, begin + samples.start, own_slope, steps[samples])
        _advance(found, rows, torch.cat([earlier[None], value]), steps, samples.start, near)
        before.fill_(-1.0).index_copy_(0, rows, value[-1])
    close = found.close if near < _SOLID else found.level
    return close, Ends(*found[1:]), Course(fan, steps, first, slope, height, near)


@dataclass(frozen=True)
class Course:
    """The occupancy along rays."""

    fan: _Fan
    steps: Tensor
    first: Tensor
    slope: Tensor
    height: Tensor
    near: float

    def near_after(self, rows: Tensor, level: Tensor) -> Tensor:
        """Return the level distances `[N]` from `level [N]` on at which rays `rows [N]` are near to something.

        They are up to one distance of the march early, and `FAR` where there is nothing more.
        """
        # All distances at once: few rays go on, and so the number of operations counts, not their size.
        first, slope = (x.index_select(0, rows) for x in (self.first, self.slope))
        value, count = _values(self.fan, self.height, first, slope, self.steps), len(self.steps)
        numbers = torch.arange(count)[:, None]
        ahead = (value > self.near) & (numbers >= torch.searchsorted(self.steps, level))
        soon = torch.where(ahead, numbers, count).amin(0)
        there = torch.maximum(self.steps.index_select(0, (soon - 1).clamp_(0)), level)
        return torch.where(soon < count, there, FAR)


def _distances() -> Tensor:
    """`[72]` level distances: dense near the camera."""
    return _NEAREST + 15.5 * (torch.exp(0.0195 * torch.arange(_SAMPLES)) - 1)


def _fan(occupancy: Tensor, centre: tuple[float, float], rays: Rays, steps: Tensor) -> _Fan:
    """Read `occupancy` along the planes of `rays` at level distances `steps`."""
    reach, origin, planes = occupancy.shape[-1] * CELL / 2, rays.origin, rays.planes(_PLANES)
    x = (origin[0] - centre[0] + planes.sin()[:, None] * steps) / reach
    z = (origin[2] - centre[1] + planes.cos()[:, None] * steps) / reach
    fan = F.grid_sample(occupancy[None], torch.stack([x, z], -1)[None], padding_mode="border", align_corners=False)[0]
    some = (fan.add(1.0).view(-1, _ROUND) @ torch.ones(_ROUND) > 1 + _NOTHING).view(*fan.shape[:2], -1)
    edge = some.new_zeros(1, *some.shape[1:])
    between = torch.cat([some, edge]) | torch.cat([edge, some])
    weights = 2.0 ** torch.arange(1, LEVELS + 2)
    bits = (weights @ between.flatten(1).float()).int().view(between.shape[1:])
    return _Fan(fan.flatten(), bits.T.contiguous())


def _active(fan: _Fan, steps: Tensor, height: Tensor, plane: Tensor, slope: Tensor) -> Tensor:
    """`[rounds, R]`: True where there may be something at the heights of a ray in a round."""
    ends = torch.stack([steps[::_ROUND], steps[_ROUND - 1 :: _ROUND]])[..., None]
    upward = torch.addcmul(height / CELL + 1.5, slope / CELL, ends).clamp_(0, LEVELS + 2).int()
    low, high = torch.minimum(*upward), torch.maximum(*upward)
    return (fan.some.index_select(1, plane) >> low) & ((2 << (high - low)) - 1) > 0


def _values(fan: _Fan, height: Tensor, first: Tensor, slope: Tensor, level: Tensor) -> Tensor:
    """Return occupancies `[K, R]` at distances `level [K]`, of which the first is at `first [R]` of the fan's."""
    heights = torch.addcmul(height, slope, level[:, None])
    outside = (heights > HIGH) | (heights < _BELOW)
    upward = heights.mul_(1 / CELL).sub_(0.5).clamp_(0, LEVELS - 1.001)
    below = upward.int()
    upward.sub_(below)
    place = torch.add(torch.arange(len(level), dtype=torch.int32)[:, None] + first, below, alpha=_ABOVE).flatten()
    low, high = (fan.values.index_select(0, at).view(upward.shape) for at in (place, place + _ABOVE))
    return low.lerp_(high, upward).masked_fill_(outside, -1.0)


def _advance(found: _Found, rows: Tensor, values: Tensor, steps: Tensor, start: int, near: float) -> None:
    """Enter into `found` what `rows` meet at distances from number `start` on.

    `values [1 + K, R]` are the occupancies there, after the one at the distance before.
    """
    value = values[1:]
    numbers, none = torch.arange(len(value), dtype=torch.float32)[:, None], float(len(value))
    first = torch.where(value > _SOLID, numbers, none).amin(0)
    _enter(found.level, rows, values, first, steps, start, _SOLID)
    if near < _SOLID:
        soon = torch.where(value > near, numbers, none).amin(0)
        soon.masked_fill_(found.close.index_select(0, rows) < FAR, none)
        _enter(found.close, rows, values, soon, steps, start, near)
    passed = value.masked_fill(numbers >= first, -1.0)
    most = passed.amax(0)
    better = (most > found.missed.index_select(0, rows)).nonzero()[:, 0]
    rows, most = rows.index_select(0, better), most.index_select(0, better)
    at = torch.where(passed.index_select(1, better) == most, numbers, none).amin(0).int()
    found.missed.index_copy_(0, rows, most)
    found.missed_level.index_copy_(0, rows, steps.index_select(0, at.add_(start)))


def _enter(
    target: Tensor, rows: Tensor, values: Tensor, first: Tensor, steps: Tensor, start: int, threshold: float
) -> None:
    """Enter into `target` the level distances at which `values` of `rows` exceed a threshold, at number `first`."""
    hit = (first < len(values) - 1).nonzero()[:, 0]
    index = first.index_select(0, hit).int()
    spots = index * values.shape[1] + hit
    earlier, here = (values.flatten().index_select(0, at) for at in (spots, spots + values.shape[1]))
    part = ((threshold - earlier) / (here - earlier).clamp_min(1e-4)).clamp(0, 1)
    index.add_(start)
    before, after = (steps.index_select(0, at) for at in ((index - 1).clamp_min_(0), index))
    target.index_copy_(0, rows.index_select(0, hit), torch.lerp(before, after, part))
