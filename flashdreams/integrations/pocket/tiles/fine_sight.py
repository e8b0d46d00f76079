"""From a camera to what it sees of things in fine cells: rays that end on them, and what lies at seams pixel by pixel.

Rays look for something near in coarse cells, and step along the signed distance in fine cells from there (sphere
tracing, Hart 1996). Pixels beside which rays end on different things are traced by themselves.
Geometry only, in fp32.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.integrations.pocket.land.camera import HEIGHT, WIDTH, camera_origin, camera_rays
from flashdreams.integrations.pocket.land.state import CELL, OCCUPANCY
from flashdreams.integrations.pocket.tiles.fine import FineThings
from flashdreams.integrations.pocket.tiles.ray_march import FAR, Ends, approach
from flashdreams.integrations.pocket.tiles.rays import Rays

_NEAR = -0.5
"""Occupancy in coarse cells from which something may be met in fine ones."""
GRAIN = 0.06
"""Metres below a surface where its colour is read."""
_LEAST, _MOST = 0.05, 0.5
"""Metres of a step along a ray."""
_MET = -0.06
"""Occupancy from which a ray that was followed ends: posts of 0.15 m may lie between cells, and reach no more."""
_PASSES = (6, 5)
"""Steps after each place where something is near."""
_BEFORE = 0.35
"""Metres before a neighbouring ray's end where a pixel's ray begins."""
_MOST_TRACED = 1600
"""Rays whose pixels are traced by themselves at most: those with the strongest differences to their neighbours."""


class Sharp(NamedTuple):
    """Results of the rays of single pixels."""

    albedo: Tensor
    """`[3, 144, 256]` in -1..1: the colour that the pixel's ray ends on; 0 for the sky."""
    source: Tensor
    """`[144 * 256]`: the pixel, on a ray's own spot, whose light a pixel has: beside a seam not always its own."""


def march_fine(state: Tensor, things: FineThings, rays: Rays) -> Ends:
    """Walk along `rays` through `state [45, H, H]` to where they meet something solid in fine cells."""
    close, ends = approach(state[OCCUPANCY], things.centre, rays, _NEAR)
    origin, flat, horizontal = rays.origin, rays.direction.flatten(1), rays.horizontal.flatten()
    found = torch.full_like(close, FAR)
    rows = (close < FAR).nonzero()[:, 0]
    at, hit = trace(things, origin, flat[:, rows], close[rows] / horizontal[rows], _PASSES[0])
    found[rows[hit]] = at[hit]
    # Those that passed something by begin again before what is solid in coarse cells too.
    rows, at = rows[~hit], at[~hit]
    again = ends.level[rows] / horizontal[rows] - _BEFORE
    goes_on = (again > at - 2 * _BEFORE) & (ends.level[rows] < FAR)
    rows, begin = rows[goes_on], torch.maximum(again, at)[goes_on]
    at, hit = trace(things, origin, flat[:, rows], begin, _PASSES[1])
    found[rows[hit]] = at[hit]
    return ends._replace(level=torch.where(found < FAR, found * horizontal, FAR))


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


def sharpened(
    ground: Tensor, things: FineThings, pose: Tensor, kinds: Tensor, colors: Tensor, distance: Tensor
) -> Sharp:
    """Trace the pixels beside seams between rays that end at `distance [72, 128]`.

    `kinds [3, 72, 128]` are 1 for things, the ground and the sky; `colors [3, 72, 128]` those that rays end on, and
    `ground [3, H, H]` the ground's.
    """
    height, width = distance.shape
    albedo = F.interpolate(colors[None], size=(HEIGHT, WIDTH), mode="bilinear")[0]
    source = torch.arange(HEIGHT * WIDTH)
    seam = _differences(kinds, colors, distance).flatten()
    chosen = (seam > 0).nonzero()[:, 0]
    if len(chosen) > _MOST_TRACED:
        chosen = seam.topk(_MOST_TRACED).indices.sort().values
    if not len(chosen):
        return Sharp(albedo, source)
    row, column = chosen // width, chosen % width
    pixels = torch.stack([(2 * row + i) * WIDTH + 2 * column + j for i in (0, 1) for j in (0, 1)], 1).flatten()
    own = chosen.repeat_interleave(4)
    near, near_kinds, ends = _neighbours(own, kinds, distance, height, width)
    origin = camera_origin(pose)
    rays = camera_rays(pose, WIDTH, HEIGHT).flatten(1).index_select(1, pixels)
    at, kind = _ends(things, origin, rays, near_kinds, ends)
    known = ends.clamp_max(FAR)
    unlike = (at.clamp_max(FAR).log()[:, None] - known.log()).abs() + 50.0 * (near_kinds != kind[:, None])
    unlike[kind != 0] = 50.0 * (near_kinds != kind[:, None]).float()[kind != 0]
    best = unlike.add(_ORDER).argmin(1, keepdim=True)
    alike = unlike.gather(1, best)[:, 0] < 40
    chosen_ray = torch.where(alike, near.gather(1, best)[:, 0], own)
    # The light of the spot of that ray which is nearest to the pixel.
    y, x = pixels // WIDTH, pixels % WIDTH
    ray_y, ray_x = chosen_ray // width * 2, chosen_ray % width * 2
    source[pixels] = torch.minimum(torch.maximum(y, ray_y), ray_y + 1) * WIDTH + torch.minimum(
        torch.maximum(x, ray_x), ray_x + 1
    )
    found = _colors(ground, things, origin, rays, at, kind)
    albedo.flatten(1)[:, pixels] = torch.where(alike, found, colors.flatten(1)[:, own])
    return Sharp(albedo, source)


_AROUND = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))
_ORDER = torch.arange(9) * 1e-3
"""Of rays that are alike the nearest one."""


def _differences(kinds: Tensor, colors: Tensor, distance: Tensor) -> Tensor:
    """`[72, 128]`: above 0 where a ray ends on something else than one beside it; the more, the more it differs."""
    thing, kind = kinds[0], kinds[0] + 2 * kinds[1]
    inverse = 1 / distance
    result = torch.zeros_like(distance)
    for axis in (0, 1):
        size = distance.shape[axis] - 1
        one, two = (lambda x: x.narrow(x.dim() - 2 + axis, 0, size)), (lambda x: x.narrow(x.dim() - 2 + axis, 1, size))  # noqa: B023
        either = torch.maximum(one(thing), two(thing))
        other = (one(kind) != two(kind)).float()
        depth = (one(inverse) - two(inverse)).abs() / torch.maximum(one(inverse), two(inverse))
        color = (one(colors) - two(colors)).abs().amax(0)
        strength = either * (other + (depth - 0.12).clamp_min(0) + (color - 0.15).clamp_min(0))
        one(result).copy_(torch.maximum(one(result), strength))
        two(result).copy_(torch.maximum(two(result), strength))
    return result


def _neighbours(own: Tensor, kinds: Tensor, distance: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of rays `own [P]`: the nine rays around `[P, 9]`, their kinds (0 thing, 1 ground, 2 sky) and distances."""
    row, column = own // width, own % width
    shifts = torch.tensor(_AROUND)
    near = (row[:, None] + shifts[:, 0]).clamp(0, height - 1) * width + (column[:, None] + shifts[:, 1]).clamp(
        0, width - 1
    )
    return near, kinds.argmax(0).flatten()[near], distance.flatten()[near]


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


def _colors(ground: Tensor, things: FineThings, origin: Tensor, rays: Tensor, at: Tensor, kind: Tensor) -> Tensor:
    """`[3, P]`: the colours where the pixels' rays end."""
    result = torch.zeros(3, len(at))
    of_things, of_ground = (kind == 0).nonzero()[:, 0], (kind == 1).nonzero()[:, 0]
    points = origin[:, None] + rays[:, of_things] * (at[of_things] + GRAIN)
    result[:, of_things] = things.color(points)
    spots = origin[:, None] + rays[:, of_ground] * at[of_ground].clamp_max(80.0)
    reach = ground.shape[-1] * CELL / 2
    flat = torch.stack([(spots[0] - things.centre[0]) / reach, (spots[2] - things.centre[1]) / reach], -1)[None, None]
    result[:, of_ground] = F.grid_sample(ground[None], flat, padding_mode="border", align_corners=False)[0, :, 0]
    return result
