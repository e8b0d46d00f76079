"""From a camera to what it sees of things in fine cells: rays that end on them, and what lies at seams pixel by pixel.

Rays look for something near in coarse cells, in a fan of vertical planes, and step along the signed distance in fine
cells from there (sphere tracing, Hart 1996). Pixels beside which rays end on different things are traced by themselves.
Geometry only, in fp32.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.integrations.pocket.land.camera import HEIGHT, WIDTH, camera_rays
from flashdreams.integrations.pocket.land.state import CELL, GROUND, LEVELS, OCCUPANCY
from flashdreams.integrations.pocket.tiles.fine import FineThings
from flashdreams.integrations.pocket.tiles.ray_march import FAR, Ends, distances
from flashdreams.integrations.pocket.tiles.sight import ALBEDO, LocalState

_NEAR = -0.5
"""Occupancy in coarse cells from which something may be met in fine ones."""
_PLANES = 144
"""Planes of the fan."""
_BLOCK = 18
"""Distances along a plane that are looked up together."""
_LEAST, _MOST = 0.05, 0.5
"""Metres of a step along a ray."""
_MET = -0.06
"""Occupancy from which a ray that was followed ends: posts of 0.15 m may lie between cells, and reach no more."""
_PASSES = (7, 6, 5)
"""Steps after each place where something is near."""
_BEFORE = 0.35
"""Metres before a neighbouring ray's end where a pixel's ray begins."""
_SEAMS = 1600
"""Rays whose pixels are traced by themselves at most: those with the strongest differences to their neighbours."""


class Sharp(NamedTuple):
    """What is known of single pixels."""

    albedo: Tensor
    """`[3, 144, 256]` in -1..1: the colour that the pixel's ray ends on; 0 for the sky."""
    source: Tensor
    """`[144 * 256]`: the pixel, on a ray's own spot, whose light a pixel has: beside a seam not always its own."""


def march_fine(place: LocalState, things: FineThings, origin: Tensor, rays: Tensor, horizontal: Tensor) -> Ends:
    """Walk along `rays [3, R]` to where they meet something solid in fine cells."""
    steps = distances()
    value = _coarse(place, origin, rays, horizontal, steps)
    near = value > _NEAR
    ground = torch.where(rays[1] < -1e-4, origin[1] / (-rays[1]).clamp_min(1e-4), FAR)
    found = torch.full_like(ground, FAR)
    first = near.int().argmax(1)
    rows = near.any(1).nonzero()[:, 0]
    first = first[rows]
    at = torch.zeros(len(rows))
    for passes in _PASSES:
        # Between two distances the occupancy rises to that of the second one: begin where it is high enough.
        after, before = (value[rows, (first - back).clamp_min(0)] for back in (0, 1))
        part = ((_NEAR - before) / (after - before).clamp_min(1e-3)).clamp(0, 1)
        begin = torch.lerp(steps[(first - 1).clamp_min(0)], steps[first], part) / horizontal[rows]
        at, hit = trace(things, origin, rays[:, rows], torch.maximum(at, begin), passes)
        found[rows[hit]] = at[hit]
        rows, at = rows[~hit], at[~hit]
        later = near[rows] & (steps > (at * horizontal[rows])[:, None])
        goes_on = later.any(1) & (at < ground[rows])
        rows, at, first = rows[goes_on], at[goes_on], later[goes_on].int().argmax(1)
        if not len(rows):
            break
    level = torch.where(found < FAR, found * horizontal, FAR)
    earlier = value.masked_fill_(steps > level[:, None] - 0.5, -1.0)
    missed, index = earlier.max(1)
    return Ends(level, missed, steps[index])


def trace(things: FineThings, origin: Tensor, rays: Tensor, begin: Tensor, passes: int) -> tuple[Tensor, Tensor]:
    """Follow `rays [3, R]` from `begin` metres; return how far they got, and True where they met something."""
    start, along = things.spots(origin[:, None], 1.0), things.spots(rays, 0.0)
    at, value, rows = begin.clone(), torch.full_like(begin, -1.0), torch.arange(len(begin))
    here = begin
    for number in range(passes):
        found = things.occupancy_at(torch.addcmul(start, along, here[:, None]))
        here = torch.where(found > _MET, here, here + (found * -CELL).clamp_(_LEAST, _MOST))
        if number in (passes // 2, passes - 1):
            # Half way on only those rays are followed that have met nothing yet.
            at[rows], value[rows] = here, found
            left = (found <= _MET).nonzero()[:, 0]
            rows, along, here = rows[left], along[left], here[left]
            if not len(rows):
                break
    return at, value > _MET


def _coarse(place: LocalState, origin: Tensor, rays: Tensor, horizontal: Tensor, steps: Tensor) -> Tensor:
    """`[R, S]`: the highest occupancy of the two levels around each distance along `rays`."""
    fan, plane = _fan(place, origin, rays, steps)
    air = torch.full((*fan.shape[:2], 1), -1.0)
    both = torch.cat([fan[..., :1], torch.maximum(fan[..., 1:], fan[..., :-1]), fan[..., -1:]], 2)
    flat = torch.cat([air, both, air], 2).flatten()
    levels = LEVELS + 3
    slope = rays[1] / horizontal
    leaves = torch.where(slope < 0, (origin[1] + 0.25) / (-slope).clamp_min(1e-6), 0.0)
    leaves = torch.where(slope > 0, (LEVELS * CELL + 0.25 - origin[1]) / slope.clamp_min(1e-6), leaves)
    value = torch.full((rays.shape[1], len(steps)), -1.0)
    for first in range(0, len(steps), _BLOCK):
        part = steps[first : first + _BLOCK]
        rows = (leaves >= part[0]).nonzero()[:, 0]
        if not len(rows):
            break
        level = torch.addcmul(origin[1], slope[rows, None], part).mul_(1 / CELL).add_(1.5).clamp_(0, levels - 1)
        base = plane[rows].int()[:, None] * (len(steps) * levels)
        index = level.int() + base + (torch.arange(first, first + len(part), dtype=torch.int32) * levels)
        value[rows, first : first + _BLOCK] = flat.index_select(0, index.flatten()).view(index.shape)
    return value


def _fan(place: LocalState, origin: Tensor, rays: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
    """`[144, 72, 16]`: the occupancy in a fan of planes through a camera; and the plane of each ray `[R]`."""
    azimuth = torch.atan2(rays[0], rays[2])
    middle = torch.atan2(rays[0].mean(), rays[2].mean())
    relative = torch.remainder(azimuth - middle + math.pi, 2 * math.pi) - math.pi
    low, high = relative.min(), relative.max()
    planes = middle + torch.lerp(low, high, torch.linspace(0, 1, _PLANES))
    x = origin[0] + planes.sin()[:, None] * steps
    z = origin[2] + planes.cos()[:, None] * steps
    fan = F.grid_sample(
        place.state[None, OCCUPANCY], place.flat(x, z)[None], padding_mode="border", align_corners=False
    )[0]
    plane = ((relative - low) / (high - low).clamp_min(1e-6) * (_PLANES - 1)).round().long()
    return fan.permute(1, 2, 0), plane


def sharpened(place: LocalState, things: FineThings, pose: Tensor, features: Tensor, distance: Tensor) -> Sharp:
    """Trace the pixels beside seams between rays of `features [34, 72, 128]` and `distance [72, 128]`."""
    height, width = distance.shape
    albedo = F.interpolate(features[None, ALBEDO : ALBEDO + 3], size=(HEIGHT, WIDTH), mode="bilinear")[0]
    source = torch.arange(HEIGHT * WIDTH)
    seam = _seams(features, distance).flatten()
    chosen = (seam > 0).nonzero()[:, 0]
    if len(chosen) > _SEAMS:
        chosen = seam.topk(_SEAMS).indices.sort().values
    if not len(chosen):
        return Sharp(albedo, source)
    row, column = chosen // width, chosen % width
    pixels = torch.stack([(2 * row + i) * WIDTH + 2 * column + j for i in (0, 1) for j in (0, 1)], 1).flatten()
    own = chosen.repeat_interleave(4)
    near, kinds, ends = _neighbours(own, features, distance, height, width)
    origin = place.origin(pose)
    rays = camera_rays(pose, WIDTH, HEIGHT).flatten(1).index_select(1, pixels)
    at, kind = _ends(things, origin, rays, kinds, ends)
    known = ends.clamp_max(FAR)
    unlike = (at.clamp_max(FAR).log()[:, None] - known.log()).abs() + 50.0 * (kinds != kind[:, None])
    unlike[kind != 0] = 50.0 * (kinds != kind[:, None]).float()[kind != 0]
    best = unlike.add(_ORDER).argmin(1, keepdim=True)
    alike = unlike.gather(1, best)[:, 0] < 40
    chosen_ray = torch.where(alike, near.gather(1, best)[:, 0], own)
    # The light of the spot of that ray which is nearest to the pixel.
    y, x = pixels // WIDTH, pixels % WIDTH
    ray_y, ray_x = chosen_ray // width * 2, chosen_ray % width * 2
    source[pixels] = torch.minimum(torch.maximum(y, ray_y), ray_y + 1) * WIDTH + torch.minimum(
        torch.maximum(x, ray_x), ray_x + 1
    )
    colors = _colors(place, things, origin, rays, at, kind)
    albedo.flatten(1)[:, pixels] = torch.where(alike, colors, features[ALBEDO : ALBEDO + 3].flatten(1)[:, own])
    return Sharp(albedo, source)


_AROUND = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))
_ORDER = torch.arange(9) * 1e-3
"""Of rays that are alike the nearest one."""


def _seams(features: Tensor, distance: Tensor) -> Tensor:
    """`[72, 128]`: above 0 where a ray ends on something else than one beside it; the more, the more it differs."""
    thing, kind = features[0], features[0] + 2 * features[1]
    inverse = 1 / distance
    result = torch.zeros_like(distance)
    for axis in (0, 1):
        size = distance.shape[axis] - 1
        one, two = (lambda x: x.narrow(x.dim() - 2 + axis, 0, size)), (lambda x: x.narrow(x.dim() - 2 + axis, 1, size))  # noqa: B023
        either = torch.maximum(one(thing), two(thing))
        other = (one(kind) != two(kind)).float()
        depth = (one(inverse) - two(inverse)).abs() / torch.maximum(one(inverse), two(inverse))
        color = (one(features[ALBEDO : ALBEDO + 3]) - two(features[ALBEDO : ALBEDO + 3])).abs().amax(0)
        strength = either * (other + (depth - 0.12).clamp_min(0) + (color - 0.15).clamp_min(0))
        one(result).copy_(torch.maximum(one(result), strength))
        two(result).copy_(torch.maximum(two(result), strength))
    return result


def _neighbours(
    own: Tensor, features: Tensor, distance: Tensor, height: int, width: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Of rays `own [P]`: the nine rays around `[P, 9]`, their kinds (0 thing, 1 ground, 2 sky) and distances."""
    row, column = own // width, own % width
    shifts = torch.tensor(_AROUND)
    near = (row[:, None] + shifts[:, 0]).clamp(0, height - 1) * width + (column[:, None] + shifts[:, 1]).clamp(
        0, width - 1
    )
    kinds = features[:3].argmax(0).flatten()
    return near, kinds[near], distance.flatten()[near]


def _ends(things: FineThings, origin: Tensor, rays: Tensor, kinds: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
    """Distances `[P]` and kinds of what the pixels' rays meet, beside rays that end so."""
    of_things = torch.where(kinds == 0, ends, FAR)
    nearest = of_things.amin(1)
    farthest = torch.where(kinds == 0, ends, 0.0).amax(1)
    at, hit = trace(things, origin, rays, (nearest - _BEFORE).clamp(0.05, FAR), _PASSES[0])
    again = (~hit & (farthest > at + _BEFORE)).nonzero()[:, 0]
    if len(again):
        further, met = trace(things, origin, rays[:, again], farthest[again] - _BEFORE, _PASSES[1])
        at[again], hit[again] = further, met
    ground = torch.where(rays[1] < -1e-4, origin[1] / (-rays[1]).clamp_min(1e-4), FAR)
    hit &= at < ground
    at = torch.where(hit, at, ground)
    return at, torch.where(hit, 0, torch.where(ground < FAR * 0.5, 1, 2))


def _colors(place: LocalState, things: FineThings, origin: Tensor, rays: Tensor, at: Tensor, kind: Tensor) -> Tensor:
    """`[3, P]`: the colours where the pixels' rays end."""
    result = torch.zeros(3, len(at))
    of_things, of_ground = (kind == 0).nonzero()[:, 0], (kind == 1).nonzero()[:, 0]
    points = origin[:, None] + rays[:, of_things] * (at[of_things] + place.grain)
    result[:, of_things] = things.color(points)
    spots = origin[:, None] + rays[:, of_ground] * at[of_ground].clamp_max(80.0)
    flat = place.flat(spots[0], spots[2])[None, None]
    result[:, of_ground] = F.grid_sample(place.state[None, GROUND], flat, padding_mode="border", align_corners=False)[
        0, :, 0
    ]
    return result
