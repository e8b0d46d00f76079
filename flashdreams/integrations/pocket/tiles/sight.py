"""From a camera to what it sees of a given state: rays walk through the occupancy and read the state where they end.

Geometry only, in fp32, without any learnt weight.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.integrations.pocket.land.camera import mist
from flashdreams.integrations.pocket.land.light import Light
from flashdreams.integrations.pocket.land.maps import lamp_light, sun_shadow
from flashdreams.integrations.pocket.land.sky import SKY_FIELDS, sky_fields
from flashdreams.integrations.pocket.land.state import (
    CELL,
    COLOR,
    GLOW,
    GROUND,
    HIGH,
    OCCUPANCY,
    PAIRS,
    WATER,
)
from flashdreams.integrations.pocket.tiles.fine import FineThings
from flashdreams.integrations.pocket.tiles.fine_sight import GRAIN, Sharp, march_fine, sharpened
from flashdreams.integrations.pocket.tiles.ray_march import FAR, Ends, march
from flashdreams.integrations.pocket.tiles.rays import Rays

RAY_ROWS, RAY_COLUMNS = 72, 128
"""Rays of a view: one for 2x2 pixels."""
FEATURES = 28 + SKY_FIELDS
"""Features of a ray; the first three after `ALBEDO` are the colour that it ends on."""
ALBEDO = 6


@dataclass(frozen=True)
class LocalState:
    """The state around a visitor, and what follows from it in one light."""

    state: Tensor
    """`[45, H, H]`, rows along z, columns along x."""
    centre: tuple[float, float]
    """x and z of the middle, in metres."""
    shadow: Tensor
    """`[H, H]`, see `maps.sun_shadow`."""
    lamps: Tensor
    """`[H, H]`, see `maps.lamp_light`."""
    light: Light
    fine: FineThings | None = None
    """The same things in fine cells, if they were refined."""

    @classmethod
    def of(cls, state: Tensor, centre: tuple[float, float], light: Light, fine: FineThings | None = None) -> LocalState:
        """With shadows and lamps computed."""
        return cls(state, centre, sun_shadow(state, light.sun_dir), lamp_light(state), light, fine)

    @property
    def reach(self) -> float:
        """Metres from the middle to the edge."""
        return self.state.shape[-1] * CELL / 2

    @property
    def grain(self) -> float:
        """Metres below a surface where its colour is read."""
        return 0.12 if self.fine is None else GRAIN

    def occupancy_at(self, points: Tensor) -> Tensor:
        """`[R]`: occupancy at `points [3, R]`."""
        if self.fine is not None:
            return self.fine.occupancy(points)
        return _volume(self, self.state[None, OCCUPANCY], points)[0]

    def color_at(self, points: Tensor) -> Tensor:
        """`[3, R]`: colours of things at `points [3, R]`."""
        if self.fine is not None:
            return self.fine.color(points)
        return _volume(self, self.state[COLOR].unflatten(0, (PAIRS, 3)).transpose(0, 1), points)

    def normal_at(self, points: Tensor) -> Tensor:
        """Unit normals `[3, R]`, outwards, from the slope of the occupancy at `points [3, R]`."""
        slope = _slope(self, points) if self.fine is None else self.fine.slope(points, 0.15)
        return slope / slope.square().sum(0).sqrt().clamp_min(1e-3)

    def flat(self, x: Tensor, z: Tensor) -> Tensor:
        """Points as `[..., 2]` for `grid_sample` of the state's planes."""
        return torch.stack([(x - self.centre[0]) / self.reach, (z - self.centre[1]) / self.reach], -1)


class Seen(NamedTuple):
    """Features of the cells that the rays of one view hit."""

    features: Tensor
    """`[34, 72, 128]`"""
    inverse_depth: Tensor
    """`[72, 128]` in 1/m, along the camera's axis; 0 for the sky."""
    rays: Rays
    level: Tensor
    """`[72, 128]`: level distances in metres to what the rays end on."""
    sharp: Sharp | None = None
    """Single pixels, where things were refined."""

    def pixels(self) -> tuple[Tensor, ...]:
        """Return the arguments of a network of views beside features and light, for one view: none, or `sharp`."""
        return () if self.sharp is None else tuple(x[None] for x in self.sharp)


@torch.no_grad()
def look(place: LocalState, pose: Tensor) -> Seen:
    """Return what the rays from camera-to-world `pose [4, 4]` hit in a `place`."""
    seen, sharp = look_by_rays(place, pose)
    return seen._replace(sharp=sharp())


def look_by_rays(
    place: LocalState, pose: Tensor, between: Callable[[], None] = lambda: None
) -> tuple[Seen, Callable[[], Sharp | None]]:
    """Return what `look` does, and its single pixels as a function that traces them.

    Calls `between` parts of the work.
    """
    between()
    view = Rays.of_camera(pose, RAY_COLUMNS, RAY_ROWS)
    origin, rays, horizontal = view.origin, view.direction.flatten(1), view.horizontal.flatten()
    if place.fine is None:
        ends = march(place.state[OCCUPANCY], place.centre, view)
    else:
        ends = march_fine(place.state, place.fine, view)
    between()
    ground = torch.where(rays[1] < -1e-4, origin[1] / (-rays[1]).clamp_min(1e-4), FAR)
    thing_at = ends.level / horizontal
    is_thing = (thing_at < ground) & (thing_at < FAR * 0.5)
    is_ground = ~is_thing & (ground < FAR * 0.5)
    distance = torch.where(is_thing, thing_at, torch.where(is_ground, ground, FAR))
    features = _features(place, origin, rays, horizontal, ends, is_thing, is_ground, distance)
    forward = pose[:3, 2].float() * torch.tensor([1.0, -1.0, 1.0])
    depth = distance * (rays * forward[:, None]).sum(0)
    inverse = torch.where(distance < FAR * 0.5, 1 / depth.clamp_min(0.05), 0.0)
    sky = sky_fields(view.direction, place.light)
    sky[2:4] = (sky[2:4] * 30).clamp(-1, 1)
    if place.fine is not None:
        sky[5] = 0  # stars are computed pixel by pixel then: told of them, the network would draw some onto things
    size = view.horizontal.shape
    level = (distance * horizontal).unflatten(0, size)
    seen = Seen(torch.cat([features.unflatten(1, size), sky]), inverse.unflatten(0, size), view, level)
    if place.fine is None:
        return seen, lambda: None
    kinds, colors, reach = seen.features[:3], seen.features[ALBEDO : ALBEDO + 3], distance.unflatten(0, size)
    return seen, partial(sharpened, place.state[GROUND], place.fine, pose, place.light, kinds, colors, reach)


def _features(
    place: LocalState, origin: Tensor, rays: Tensor, horizontal: Tensor, ends: Ends, is_thing: Tensor,
    is_ground: Tensor, distance: Tensor,
) -> Tensor:  # fmt: skip
    """`[28, R]`, see `FEATURES`."""
    reach, light = distance.clamp_max(80.0), place.light
    x, y, z = origin[:, None] + rays * reach
    planes = torch.cat([place.state[GROUND], place.state[[WATER, GLOW]], place.shadow[None], place.lamps[None]])
    there = F.grid_sample(planes[None], place.flat(x, z)[None, None], padding_mode="border", align_corners=False)[
        0, :, 0
    ]
    missed_reach = ends.missed_level / horizontal
    missed = torch.where(missed_reach < distance, ends.missed + 1, 0.0).clamp_(0, 1)
    # Only rays that meet or pass something solid read the volume: most of the time here goes into that.
    things, passing = is_thing.nonzero()[:, 0], (missed > 0).nonzero()[:, 0]
    of_things, thing_reach = rays.index_select(1, things), reach.index_select(0, things)
    deeper = origin[:, None] + of_things * (thing_reach + place.grain)
    near = origin[:, None] + rays.index_select(1, passing) * missed_reach.index_select(0, passing)
    found = place.color_at(torch.cat([deeper, near], 1)).split([len(things), len(passing)], 1)
    color, missed_color = (
        torch.zeros(3, rays.shape[1]).index_copy_(1, at, each)
        for at, each in zip((things, passing), found, strict=True)
    )
    deep = place.occupancy_at(origin[:, None] + of_things * (thing_reach + 0.3))
    inside = torch.zeros(rays.shape[1]).index_copy_(0, things, deep)
    thing, bare = is_thing.float(), is_ground.float()
    normal = torch.zeros_like(rays)
    normal[1] = bare
    normal.index_copy_(1, things, place.normal_at(origin[:, None] + of_things * thing_reach))
    facing = (normal * torch.tensor(light.sun_dir)[:, None]).sum(0)
    albedo = torch.where(is_thing, color, there[:3] * bare)
    rows = [
        thing, bare, 1 - thing - bare, reach / 40,
        mist(distance, light.haze, light.thick), 1 / (1 + reach), *albedo, *normal, facing, there[5] * bare, there[6],
        there[4] * thing, there[3] * bare, y.clamp(-1, 8) / 4, inside, missed,
        (missed_reach / 40).clamp_max(2) * missed, *(missed_color * missed), *there[:3],
        torch.exp((rays * torch.tensor(light.sun_dir)[:, None]).sum(0) * 14 - 14),
    ]  # fmt: skip
    return torch.stack(rows)


def _volume(place: LocalState, volume: Tensor, points: Tensor) -> Tensor:
    """`[C, R]` of a `volume [C, L, H, H]` over the state's height at `points [3, R]`."""
    flat = place.flat(points[0], points[2])
    grid = torch.cat([flat, (points[1] / HIGH * 2 - 1)[:, None]], -1)[None, None, None]
    return F.grid_sample(volume[None], grid, padding_mode="border", align_corners=False)[0, :, 0, 0]


def _slope(place: LocalState, points: Tensor, step: float = 0.3) -> Tensor:
    """Differences `[3, R]` of the occupancy so many metres to both sides of `points [3, R]`."""
    shifts = torch.cat([torch.eye(3), -torch.eye(3)]) * step
    around = (points[:, None] + shifts.T[:, :, None]).flatten(1)
    value = _volume(place, place.state[None, OCCUPANCY], around)[0].unflatten(0, (2, 3, -1))
    return value[1] - value[0]
