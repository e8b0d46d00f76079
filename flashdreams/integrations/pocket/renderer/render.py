"""Draws the places of the pocket world for training and evaluation: batched analytic ray casting in torch, CPU or GPU.

Never used at play time: what a visitor sees is dreamed. One call draws any mix of places; the same poses give the same
pictures on every run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flashdreams.integrations.pocket.renderer.backdrop import GROUND_REACH, SKY_LOW, bake_ground, bake_sky, mix, smooth
from flashdreams.integrations.pocket.renderer.intersections import (
    FAR,
    NOWHERE,
    Solids,
    box_normal,
    hit_boxes,
    hit_rounds,
    padded,
    round_normal,
    rows_of,
)
from flashdreams.integrations.pocket.scenes.objects import Color, SceneLayout

FOG_METRES = 1 / 0.018
"""Metres at which the distance itself becomes fog."""


class Renderer(Solids):
    """Pictures of `scene_layouts` from camera-to-world poses."""

    sky: Tensor
    floor: Tensor

    def __init__(
        self, scene_layouts: Sequence[SceneLayout], width: int = 256, height: int = 144, supersample: int = 2
    ) -> None:
        super().__init__(scene_layouts, width, height, supersample)
        for name, table in light_tables(scene_layouts).items():
            self.register_buffer(name, table)
        skies, floors = [], []
        for i in range(len(scene_layouts)):
            light = {n: buf[i : i + 1] for n, buf in self.named_buffers()}
            skies.append(bake_sky(light))
            floors.append(bake_ground(light, self.rounds[i : i + 1], self.boxes[i : i + 1]))
        self.register_buffer("sky", torch.stack(skies))
        self.register_buffer("floor", torch.stack(floors))
        self._draw = _draw

    def compile(self) -> None:
        """Fuse the drawing into a few kernels: many times faster on a CPU, at the price of a minute once."""
        self._draw = torch.compile(_draw, dynamic=False)

    @torch.no_grad()
    def forward(self, poses: Tensor, scene: Tensor) -> Tensor:
        """Draw `[B, 3, H, W]` in [0, 1] from camera-to-world `poses [B, 4, 4]` of scenes `scene [B]` (indices)."""
        origin, direction = self.rays(poses)
        light = {n: getattr(self, n)[scene] for n in ("sunlight", "ambient", "haze", "sun", "sun_dir", "lamp", "lamps")}
        rounds, boxes = self.in_view(poses, scene, origin)
        image = self._draw(origin, direction, rounds, boxes, self.sky, self.floor, scene, light)
        image = image.unflatten(-1, (self.height * self.supersample, self.width * self.supersample))
        if self.supersample > 1:
            image = nn.functional.avg_pool2d(image, self.supersample)
        return image.clamp(0, 1)


def light_tables(scene_layouts: Sequence[SceneLayout]) -> dict[str, Tensor]:
    """Return light, lamps and waters of `scene_layouts` by name, a row for each."""
    lamps = [list(map(list, p.lamps)) for p in scene_layouts]
    tables = {"lamps": padded(lamps, 1, [NOWHERE, NOWHERE])}
    lights = [p.light for p in scene_layouts]
    for name in "zenith horizon sun far_ridge near_ridge ground ground_patch path water lamp".split():
        colors: list[Color] = [getattr(light, name) for light in lights]
        tables[name] = torch.tensor(colors)
    for name in "sun_size sun_glow sunlight ambient ridge_height ridge_step haze aurora stars".split():
        tables[name] = torch.tensor([float(getattr(light, name)) for light in lights])
    az = torch.tensor([math.radians(light.sun_azimuth) for light in lights])
    el = torch.tensor([math.radians(light.sun_elevation) for light in lights])
    tables["sun_dir"] = torch.stack([az.sin() * el.cos(), el.sin(), az.cos() * el.cos()], -1)
    tables["pond"] = torch.tensor([p.pond for p in scene_layouts])
    tables["shore"] = torch.tensor([p.shore for p in scene_layouts])
    return tables


def _lookup(image: Tensor, scene: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Bilinear colours `[B, 3, P]` of pictures `[S, 3, H, W]` at u, v in 0..1 (`[B, P]`)."""
    _, _, height, width = image.shape
    x, y = (u * width - 0.5).clamp(0, width - 1.001), (v * height - 0.5).clamp(0, height - 1.001)
    x0, y0 = x.floor(), y.floor()
    fx, fy = (x - x0).unsqueeze(1), (y - y0).unsqueeze(1)
    at = (y0 * width + x0).long().unsqueeze(1) + torch.arange(3, device=u.device)[:, None] * (height * width)
    at = at + scene[:, None, None] * (3 * height * width)
    flat = image.reshape(-1)
    top = mix(flat[at], flat[at + 1], fx)
    return mix(top, mix(flat[at + width], flat[at + width + 1], fx), fy)


def _draw(
    o: Tensor,
    d: Tensor,
    rounds: Tensor,
    boxes: Tensor,
    sky: Tensor,
    floor: Tensor,
    scene: Tensor,
    light: dict[str, Tensor],
) -> Tensor:
    """Colours `[B, 3, P]` seen from o `[B, 3]` along d `[B, 3, P]`."""
    t_round, i_round = hit_rounds(o, d, rounds)
    t_box, i_box = hit_boxes(o, d, boxes)
    dx, dy, dz = d.unbind(1)
    t_ground = torch.where(dy < -1e-4, o[:, 1, None] / (-dy).clamp_min(1e-4), FAR)
    t = torch.minimum(torch.minimum(t_round, t_box), t_ground)
    px, py, pz = o[:, 0, None] + dx * t, o[:, 1, None] + dy * t, o[:, 2, None] + dz * t
    azimuth = torch.atan2(dx, dz) / (2 * math.pi) + 0.5
    behind = _lookup(sky, scene, azimuth, (dy - SKY_LOW) / (1 - SKY_LOW))
    level = _lookup(sky, scene, azimuth, torch.full_like(dy, (0.02 - SKY_LOW) / (1 - SKY_LOW)))
    ground = _lookup(floor, scene, px / (2 * GROUND_REACH) + 0.5, pz / (2 * GROUND_REACH) + 0.5)

    of_round, of_box = rows_of(rounds, i_round), rows_of(boxes, i_box)
    is_round = t_round <= t_box
    ax, ay, az = round_normal(of_round, px, py, pz)
    bx, by, bz = box_normal(of_box, px, py, pz)
    nx, ny, nz = torch.where(is_round, ax, bx), torch.where(is_round, ay, by), torch.where(is_round, az, bz)
    scale = -torch.sign(nx * dx + ny * dy + nz * dz) * torch.rsqrt(nx * nx + ny * ny + nz * nz + 1e-12)
    paint = [torch.where(is_round, of_round(8 + i), of_box(15 + i)) for i in range(8)]
    stripe = _stripe(py, paint[6], t)
    lit = _daylight(nx * scale, ny * scale, nz * scale, light)
    lamp = _lamplight(px, pz, light["lamps"])
    haze = light["haze"][:, None]
    fog = 1 - torch.exp(-haze * t - (t.clamp_max(200.0) / FOG_METRES) ** 3)
    on_ground = t_ground <= t
    fog = torch.where(~on_ground & (paint[7] > 0), fog * 0.5, fog)
    channels = []
    for c in range(3):
        base = mix(paint[c], paint[3 + c], stripe)
        warm = mix(torch.ones_like(haze), light["sun"][:, c, None], torch.full_like(haze, 0.45))
        shaded = base * lit * warm + base * light["lamp"][:, c, None] * 0.8 * lamp
        thing = mix(shaded, base, paint[7])
        surface = torch.where(on_ground, ground[:, c], thing)
        seen = mix(surface, level[:, c], fog)
        channels.append(torch.where(t < FAR * 0.5, seen, behind[:, c]))
    return torch.stack(channels, 1)


def _stripe(height: Tensor, period: Tensor, t: Tensor) -> Tensor:
    """Share of a thing's second colour, 0 to 1: in stripes of `period` metres, if any; softer far away."""
    full = period.clamp_min(0.1)
    soft = 0.04 + 0.012 * t
    saw = (height / full).frac() * full
    return smooth(-soft, soft, saw - full * 0.5) * smooth(soft, -soft, saw - full) * (period > 0)


def _daylight(nx: Tensor, ny: Tensor, nz: Tensor, light: dict[str, Tensor]) -> Tensor:
    """Return the light of sky and sun on surfaces with unit normals."""
    sun_dir = light["sun_dir"]
    facing = nx * sun_dir[:, 0, None] + ny * sun_dir[:, 1, None] + nz * sun_dir[:, 2, None]
    return (
        light["ambient"][:, None] * (0.86 + 0.14 * ny)
        + light["sunlight"][:, None] * (0.5 + 0.5 * facing).clamp_min(0) ** 1.5
    )


def _lamplight(px: Tensor, pz: Tensor, lamps: Tensor) -> Tensor:
    """Return the proximity of the lamps `[B, N, 2]`, 0 to 1."""
    near = torch.zeros_like(px)
    for k in range(lamps.shape[1]):
        away = (px - lamps[:, k, 0, None]) ** 2 + (pz - lamps[:, k, 1, None]) ** 2
        near = near + (1.0 + 0.4 * away) ** -1.5
    return near.clamp(0, 1)
