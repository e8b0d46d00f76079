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
from flashdreams.integrations.pocket.land.light import Light
from flashdreams.integrations.pocket.land.state import CELL, OCCUPANCY
from flashdreams.integrations.pocket.tiles.fine import FineThings
from flashdreams.integrations.pocket.tiles.open_sky import level_kinds, open_sky
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
_TIMES, _PASSES = 3, 10
"""Places at most where something is near that a ray looks at, and steps after each."""
_PAUSES = (2, 5)
"""Numbers of steps after which rays that have met something are left out."""
_SEAM_PASSES = (9, 7)
"""Steps of a pixel's ray from each of two ends."""
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
    sky: Tensor
    """`[4, 144, 256]`, see `open_sky.open_sky`."""


def march_fine(state: Tensor, things: FineThings, rays: Rays) -> Ends:
    """Walk along `rays` through `state [45, H, H]` to where they meet something solid in fine cells."""
    close, ends, course = approach(state[OCCUPANCY], things.centre, rays, _NEAR)
    origin, flat, horizontal = rays.origin, rays.direction.flatten(1), rays.horizontal.flatten()
    found = torch.full_like(close, FAR)
    rows = (close < FAR).nonzero()[:, 0]
    level = close.index_select(0, rows)
    for number in range(_TIMES):
        own = horizontal.index_select(0, rows)
        at, hit = trace(things, origin, flat.index_select(1, rows), level / own, _PASSES)
        those = hit.nonzero()[:, 0]
        found.index_copy_(0, rows.index_select(0, those), at.index_select(0, those))
        if number == _TIMES - 1:
            break
        # Those that passed something by go on to what they come near to next: it may be what they show.
        those = (~hit).nonzero()[:, 0]
        rows, level = rows.index_select(0, those), (at * own).index_select(0, those)
        level = course.near_after(rows, level)
        more = (level < FAR).nonzero()[:, 0]
        rows, level = rows.index_select(0, more), level.index_select(0, more)
    return ends._replace(level=torch.where(found < FAR, found * horizontal, FAR))


def trace(things: FineThings, origin: Tensor, rays: Tensor, begin: Tensor, passes: int) -> tuple[Tensor, Tensor]:
    """Follow `rays [3, R]` from `begin` metres; return how far they got, and True where they met something."""
    start, along = things.spots(origin[:, None], 1.0), things.spots(rays, 0.0)
    at, value, rows = begin.clone(), torch.full_like(begin, -1.0), torch.arange(len(begin))
    here = begin
    for number in range(passes):
        found = things.occupancy_at(torch.addcmul(start, along, here))
        here = torch.where(found > _MET, here, here + (found * -CELL).clamp_(_LEAST, _MOST))
        if number in _PAUSES or number == passes - 1:
            # From here on only those rays are followed that have met nothing yet.
            at.index_copy_(0, rows, here)
            value.index_copy_(0, rows, found)
            left = (found <= _MET).nonzero()[:, 0]
            rows, along, here = rows.index_select(0, left), along.index_select(1, left), here.index_select(0, left)
            if not len(rows):
                break
    return at, value > _MET


def sharpened(
    ground: Tensor, things: FineThings, pose: Tensor, light: Light, kinds: Tensor, colors: Tensor, distance: Tensor
) -> Sharp:
    """Trace the pixels beside seams between rays that end at `distance [72, 128]`.

    `kinds [3, 72, 128]` are 1 for things, the ground and the sky; `colors [3, 72, 128]` those that rays end on, and
    `ground [3, H, H]` the ground's.
    """
    albedo = F.interpolate(colors[:, None], size=(HEIGHT, WIDTH), mode="bilinear")[:, 0]
    source = torch.arange(HEIGHT * WIDTH)
    shown = level_kinds(kinds[1] + 2 * kinds[2], pose)
    seam = _differences(kinds, colors, distance).flatten()
    chosen = (seam > 0).nonzero()[:, 0]
    if len(chosen) > _MOST_TRACED:
        chosen = seam.topk(_MOST_TRACED).indices.sort().values
    if not len(chosen):
        return Sharp(albedo, source, open_sky(shown, pose, light))
    width = distance.shape[1]
    row, column = chosen // width, chosen % width
    y, x = (torch.stack([2 * row + i for i in (0, 0, 1, 1)]), torch.stack([2 * column + j for j in (0, 1, 0, 1)]))
    pixels = (y * WIDTH + x).flatten()
    near, near_kinds, ends = _neighbours(row, column, kinds, distance)
    origin, rays = camera_origin(pose), camera_rays(pose, WIDTH, HEIGHT, pixels)
    at, kind = _ends(things, origin, rays, near_kinds, ends)
    best, alike = _likest(at.view(4, -1), kind.view(4, -1), near_kinds, ends)
    chosen_ray = torch.where(alike, near.gather(0, best), chosen)
    # The light of the spot of that ray which is nearest to the pixel.
    ray_y, ray_x = chosen_ray // width * 2, chosen_ray % width * 2
    lit = torch.minimum(torch.maximum(y, ray_y), ray_y + 1) * WIDTH + torch.minimum(torch.maximum(x, ray_x), ray_x + 1)
    source[pixels] = lit.flatten()
    found = _colors(ground, things, origin, rays, at, kind)
    own = colors.flatten(1).index_select(1, chosen).repeat(1, 4)
    albedo.flatten(1).index_copy_(1, pixels, torch.where(alike.flatten(), found, own))
    shown[pixels] = kind
    return Sharp(albedo, source, open_sky(shown, pose, light))


_AROUND = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))
_ORDER = torch.arange(9)[:, None, None] * 1e-3
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


def _neighbours(row: Tensor, column: Tensor, kinds: Tensor, distance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of rays `[C]` by rows and columns: the nine around each, their kinds (0 thing, 1 ground, 2 sky) and distances.

    Each is `[9, C]`.
    """
    height, width = distance.shape
    down, right = torch.tensor(_AROUND).T[..., None]
    near = (row + down).clamp_(0, height - 1) * width + (column + right).clamp_(0, width - 1)
    kind = (kinds[1] + 2 * kinds[2]).flatten()
    return near, *(x.take(near) for x in (kind, distance.flatten().clamp_max(FAR)))


def _likest(at: Tensor, kind: Tensor, kinds: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
    """Which of nine rays ends most like each of four pixels does, and True where it ends on the same kind of thing.

    Each is `[4, C]`; `at` and `kind` are of the pixels, `kinds` and `ends [9, C]` of the rays around them.
    """
    ratio = (at.clamp_max(FAR).log() - ends.log()[:, None]).abs_()
    other = (kinds[:, None] != kind).float().mul_(50.0)
    unlike = ratio.mul_(kind == 0).add_(other).add_(_ORDER)
    best = unlike.argmin(0)
    return best, unlike.gather(0, best[None])[0] < 40


def _ends(things: FineThings, origin: Tensor, rays: Tensor, kinds: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
    """Distances `[4 C]` and kinds of what the rays of pixels meet, four beside each ray of `kinds` and `ends`."""
    thing = kinds == 0
    nearest = torch.where(thing, ends, FAR).amin(0).repeat(4)
    farthest = torch.where(thing, ends, 0.0).amax(0).repeat(4)
    at, hit = trace(things, origin, rays, (nearest - _BEFORE).clamp(0.05, FAR), _SEAM_PASSES[0])
    again = (~hit & (farthest > at + _BEFORE)).nonzero()[:, 0]
    if len(again):
        at[again], hit[again] = trace(
            things, origin, rays.index_select(1, again), farthest.index_select(0, again) - _BEFORE, _SEAM_PASSES[1]
        )
    ground = torch.where(rays[1] < -1e-4, origin[1] / (-rays[1]).clamp_min(1e-4), FAR)
    hit &= at < ground
    at = torch.where(hit, at, ground)
    return at, torch.where(hit, 0, torch.where(ground < FAR * 0.5, 1, 2))


def _colors(ground: Tensor, things: FineThings, origin: Tensor, rays: Tensor, at: Tensor, kind: Tensor) -> Tensor:
    """`[3, P]`: the colours where the pixels' rays end."""
    result = torch.zeros(3, len(at))
    of_things, of_ground = (kind == 0).nonzero()[:, 0], (kind == 1).nonzero()[:, 0]
    points = origin[:, None] + rays.index_select(1, of_things) * (at.index_select(0, of_things) + GRAIN)
    result[:, of_things] = things.color(points)
    spots = origin[:, None] + rays.index_select(1, of_ground) * at.index_select(0, of_ground).clamp_max(80.0)
    reach = ground.shape[-1] * CELL / 2
    flat = torch.stack([(spots[0] - things.centre[0]) / reach, (spots[2] - things.centre[1]) / reach], -1)[None, None]
    result[:, of_ground] = F.grid_sample(ground[None], flat, padding_mode="border", align_corners=False)[0, :, 0]
    return result
