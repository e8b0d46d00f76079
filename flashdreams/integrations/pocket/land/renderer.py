"""True views of a region: analytic ray casting of its parts, batched over vertical strips of the picture.

For training and evaluation only. Every strip meets the parts nearest to the camera in its own wedge of the land.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.integrations.pocket.land.camera import HEIGHT, WIDTH, camera_origin, camera_rays, mist
from flashdreams.integrations.pocket.land.kinds import ATTRIBUTES
from flashdreams.integrations.pocket.land.light import Light
from flashdreams.integrations.pocket.land.maps import lamp_light, sun_shadow
from flashdreams.integrations.pocket.land.region import REACH, Region
from flashdreams.integrations.pocket.land.sky import horizon_fields, sky_color, sky_fields
from flashdreams.integrations.pocket.renderer.intersections import (
    FAR,
    box_normal,
    hit_boxes,
    hit_rounds,
    round_normal,
    rows_of,
)

_STRIPS, _TOP_ROUNDS, _TOP_BOXES = 8, 28, 20


class TrueViews:
    """Draws views of one region in one light. `draw` may be a compiled `cast`."""

    def __init__(self, region: Region, light: Light, cast: Callable[..., tuple[Tensor, ...]] | None = None) -> None:
        self.region, self.light, self.cast = region, light, cast or cast_rays
        shadow, lamps = sun_shadow(region.state, light.sun_dir), lamp_light(region.state)
        fine = F.interpolate(torch.stack([shadow, lamps])[None], scale_factor=2, mode="bilinear")[0]
        self.floor = torch.cat([region.ground, fine])[None]

    @torch.no_grad()
    def view(self, pose: Tensor, height: int = HEIGHT) -> Tensor:
        """`[3, 144, 256]` in 0..1 from camera-to-world `pose [4, 4]`; smaller for another `height`, a multiple of 9."""
        return self._seen(pose, height)[0]

    @torch.no_grad()
    def distance(self, pose: Tensor, height: int = HEIGHT) -> Tensor:
        """Metres `[144, 256]` from the camera to what it sees; the sky is far."""
        return self._seen(pose, height)[1]

    @torch.no_grad()
    def coverage(self, pose: Tensor, height: int = HEIGHT) -> Tensor:
        """`[6]`: the share of the view that each attribute takes, without what mist hides by more than half."""
        region, light = self.region, self.light
        origin, direction = camera_origin(pose), camera_rays(pose, height * WIDTH // HEIGHT, height)
        t, _, paint, _ = self._trace(
            _marked(region.rounds, region.round_of, 8), _marked(region.boxes, region.box_of, 15), origin, direction
        )
        on_ground, distance, spot = _met(t, origin, direction)
        floor = F.grid_sample(_water_and_ways(region), spot, padding_mode="border", align_corners=False)[0]
        of = torch.where(on_ground, torch.full_like(t[0], -1.0), paint[0])
        seen = of == torch.arange(len(ATTRIBUTES)).view(-1, 1, 1)
        for name, ground in zip(("water", "ways"), floor, strict=True):
            seen[ATTRIBUTES.index(name)] |= on_ground & (ground > 0.5)
        return (seen & (distance < FAR * 0.5) & (mist(distance, light.haze, light.thick) < 0.5)).float().mean((1, 2))

    def _trace(
        self, rounds: Tensor, boxes: Tensor, origin: Tensor, direction: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Meet the tables' parts with rays `[3, H, W]`: pictures of distances, normals, colours and glow."""
        strips = direction.unflatten(2, (_STRIPS, -1)).permute(2, 0, 1, 3).flatten(2)
        near = (
            _nearest(rows, origin, strips, keep, at)
            for rows, keep, at in ((rounds, _TOP_ROUNDS, 1), (boxes, _TOP_BOXES, 2))
        )
        found = self.cast(origin.expand(_STRIPS, 3), strips, *near)
        t, normal, paint, glow = (self._joined(x, direction.shape[1]) for x in found)
        return t, normal, paint, glow

    def _seen(self, pose: Tensor, height: int) -> tuple[Tensor, Tensor]:
        """The view and its distances."""
        light = self.light
        origin, direction = camera_origin(pose), camera_rays(pose, height * WIDTH // HEIGHT, height)
        t, normal, paint, glow = self._trace(self.region.rounds, self.region.boxes, origin, direction)
        fields = sky_fields(direction, light)
        sky = sky_color(fields, light, direction)
        fog_color = sky_color(horizon_fields(direction, light), light)
        on_ground, distance, spot = _met(t, origin, direction)
        floor = F.grid_sample(self.floor, spot, padding_mode="border", align_corners=False)[0]
        color = torch.where(on_ground, self._ground(floor, direction, fields), self._thing(normal, paint, glow, floor))
        color = color + (fog_color - color) * mist(distance, light.haze, light.thick)
        return torch.where(distance < FAR * 0.5, color, sky).clamp(0, 1), distance

    @staticmethod
    def _joined(x: Tensor, height: int) -> Tensor:
        """Strips `[S, C, P]` as a picture `[C, H, W]`."""
        return x.unflatten(2, (height, -1)).permute(1, 2, 0, 3).flatten(2)

    def _warm(self) -> Tensor:
        return torch.lerp(torch.ones(3), torch.tensor(self.light.sun), 0.5).view(3, 1, 1)

    def _lamp(self, floor: Tensor) -> Tensor:
        return floor[5] * self.light.lamps * torch.tensor([1.0, 0.72, 0.36]).view(3, 1, 1) * 0.75

    def _ground(self, floor: Tensor, direction: Tensor, fields: Tensor) -> Tensor:
        """Lit ground; water mirrors a little of the sky above it."""
        light = self.light
        lit = light.ambient + light.sunlight * (0.35 + 0.65 * light.sun_dir[1]) * (1 - 0.85 * floor[4])
        color = floor[:3] * (lit * self._warm() + self._lamp(floor))
        mirrored = torch.tensor(light.horizon).view(3, 1, 1) * 0.6 + torch.tensor(light.zenith).view(3, 1, 1) * 0.4
        graze = (1 + direction[1]).clamp(0, 1) ** 4
        return color + (mirrored - color) * (floor[3] * (0.15 + 0.7 * graze))

    def _thing(self, normal: Tensor, paint: Tensor, glow: Tensor, floor: Tensor) -> Tensor:
        light, sun = self.light, torch.tensor(self.light.sun_dir).view(3, 1, 1)
        facing = (normal * sun).sum(0)
        lit = light.ambient * (0.84 + 0.16 * normal[1]) + light.sunlight * (0.5 + 0.5 * facing).clamp_min(0) ** 1.5
        color = paint * (lit * self._warm() + self._lamp(floor))
        warm = torch.tensor([1.0, 0.82, 0.46]).view(3, 1, 1)
        return color + (warm - color) * (glow * light.lamps).clamp(0, 1)


def _met(t: Tensor, origin: Tensor, direction: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return where rays that meet things at `t [1, H, W]` end: on the ground or not, how far away, where on a map."""
    t_ground = torch.where(direction[1] < -1e-4, origin[1] / (-direction[1]).clamp_min(1e-4), FAR)
    distance = torch.minimum(t_ground, t[0])
    point = origin[:, None, None] + direction * distance
    return t_ground <= t[0], distance, (point[::2] / REACH).clamp(-2, 2).permute(1, 2, 0)[None]


def _marked(rows: Tensor, owners: Tensor, color: int) -> Tensor:
    """Return parts whose colour, from column `color` on, is the index of what they belong to; without stripes."""
    marked = rows.clone()
    marked[:, color] = owners.float()
    marked[:, color + 6] = 0
    return marked


def _water_and_ways(region: Region) -> Tensor:
    """Return maps `[1, 2, 384, 384]`, 1 where there is water or a way."""
    ways = F.interpolate(region.ways[None, None], region.ground.shape[1:], mode="bilinear")
    return torch.cat([region.ground[None, 3:], ways], 1)


def _nearest(rows: Tensor, origin: Tensor, strips: Tensor, keep: int, z_at: int) -> Tensor:
    """The `keep` nearest rows in the wedge of every strip `[S, 3, P]`, as `[S, keep, C]`; a row ends with its reach."""
    if len(rows) < keep:
        nowhere = torch.zeros(keep - len(rows), rows.shape[1])
        nowhere[:, 0] = nowhere[:, z_at] = 1e5
        nowhere[:, 6 if z_at == 1 else 3 :][:, :6] = 0.01
        rows = torch.cat([rows, nowhere])
    dx, dz = rows[:, 0] - origin[0], rows[:, z_at] - origin[2]
    distance, bearing = torch.sqrt(dx * dx + dz * dz), torch.atan2(dx, dz)
    around = torch.atan2(strips[:, 0], strips[:, 2])
    centre = torch.atan2(strips[:, 0].mean(1), strips[:, 2].mean(1))
    half = _wrapped(around - centre[:, None]).abs().amax(1)
    reach = rows[:, -1] * 1.5
    wide = torch.asin((reach / distance.clamp_min(1e-3)).clamp(0, 1)) + (distance < reach) * math.pi
    outside = _wrapped(bearing - centre[:, None]).abs() > half[:, None] + wide
    chosen = (distance - reach + outside * FAR).topk(keep, dim=1, largest=False).indices
    return rows[chosen]


def _wrapped(angle: Tensor) -> Tensor:
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi


def cast_rays(o: Tensor, d: Tensor, rounds: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Distance `[S, 1, P]`, unit normal `[S, 3, P]`, colour `[S, 3, P]` and glow `[S, 1, P]` of the first part hit.

    `o [S, 3]` and `d [S, 3, P]` are east, up, north; `rounds [S, K, 17]`, `boxes [S, K, 24]`.
    """
    t_round, i_round = hit_rounds(o, d, rounds)
    t_box, i_box = hit_boxes(o, d, boxes)
    t = torch.minimum(t_round, t_box)
    px, py, pz = (o[:, i, None] + d[:, i] * t for i in range(3))
    is_round = t_round <= t_box

    of_round, of_box = rows_of(rounds, i_round), rows_of(boxes, i_box)
    ax, ay, az = round_normal(of_round, px, py, pz)
    bx, by, bz = box_normal(of_box, px, py, pz)
    nx, ny, nz = torch.where(is_round, ax, bx), torch.where(is_round, ay, by), torch.where(is_round, az, bz)
    scale = -torch.sign(nx * d[:, 0] + ny * d[:, 1] + nz * d[:, 2]) * torch.rsqrt(nx * nx + ny * ny + nz * nz + 1e-12)
    paint = [torch.where(is_round, of_round(8 + i), of_box(15 + i)) for i in range(8)]
    period = paint[6].clamp_min(0.1)
    striped = (paint[6] > 0) & ((py / period).frac() >= 0.5)
    color = torch.stack([torch.where(striped, paint[3 + c], paint[c]) for c in range(3)], 1)
    return t[:, None], torch.stack([nx, ny, nz], 1) * scale[:, None], color, paint[7][:, None]


def compiled_cast() -> Callable[..., tuple[Tensor, ...]]:
    """`cast_rays` fused into a few kernels: several times faster, after a minute of compiling."""
    compiled: Callable[..., tuple[Tensor, ...]] = torch.compile(cast_rays, dynamic=False)
    return compiled
