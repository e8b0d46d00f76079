"""Bakes what does not move in a place into two pictures: the sky all around, and the ground seen from above."""

from __future__ import annotations

import math

import torch
from torch import Tensor

GROUND_REACH = 48.0
"""The ground picture covers +-48 m."""
SKY_LOW = -0.05
"""Lowest upward component of a direction in the sky picture; the highest is 1."""
_BAND_ROWS = 16
"""Rows of the ground that are drawn at once: few things throw their shadow on so narrow a band."""


def mix(a: Tensor, b: Tensor, t: Tensor | float) -> Tensor:
    return a + (b - a) * t


def smooth(edge0: float | Tensor, edge1: float | Tensor, x: Tensor) -> Tensor:
    t = ((x - edge0) / (edge1 - edge0)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def bake_sky(light: dict[str, Tensor], width: int = 2048, height: int = 512) -> Tensor:
    """Sky of one place `[3, height, width]`: azimuth -180..180 degrees across, upward component SKY_LOW..1 down."""
    device = light["zenith"].device
    az = (torch.arange(width, device=device) + 0.5) / width * 2 * math.pi - math.pi
    up = (torch.arange(height, device=device) + 0.5) / height * (1 - SKY_LOW) + SKY_LOW
    flat = (1 - up * up).clamp_min(0).sqrt()[:, None]
    direction = torch.stack([flat * az.sin(), up[:, None].expand(-1, width), flat * az.cos()], -1)
    return sky_at(direction.reshape(1, -1, 3), light).reshape(height, width, 3).permute(2, 0, 1).clamp(0, 1)


def bake_ground(light: dict[str, Tensor], rounds: Tensor, boxes: Tensor, size: int = 1536) -> Tensor:
    """Ground of one place `[3, size, size]` from above: x across, z down, -GROUND_REACH..GROUND_REACH."""
    shadows = _shadows(rounds[0], boxes[0], light["sun_dir"][0])
    at = ((torch.arange(size, device=rounds.device) + 0.5) / size * 2 - 1) * GROUND_REACH
    bands = [
        ground_at(at.repeat(len(z))[None], z.repeat_interleave(size)[None], _falling_on(shadows, z), light)[0]
        for z in at.split(_BAND_ROWS)
    ]
    return torch.cat(bands).unflatten(0, (size, size)).permute(2, 0, 1).clamp(0, 1)


def sky_at(d: Tensor, light: dict[str, Tensor]) -> Tensor:
    """Sky colour `[B, P, 3]` in unit directions `d`: gradient, sun or moon, aurora, stars, two ridges of hills."""

    def of(name: str) -> Tensor:
        value = light[name]
        return value[:, None] if value.dim() == 1 else value[:, None, :]

    up = d[..., 1]
    color = mix(of("horizon"), of("zenith"), (up.clamp_min(0) ** 0.55).unsqueeze(-1) * 1.15)
    toward = (d * of("sun_dir")).sum(-1)
    glow = (of("sun_glow") * torch.exp((toward - 1) * 14)).unsqueeze(-1)
    color = mix(color, of("sun"), glow.clamp(0, 1))
    disc = smooth(of("sun_size") * 1.15, of("sun_size") * 0.85, torch.acos(toward.clamp(-0.99999, 0.99999)))
    color = mix(color, of("sun"), disc.unsqueeze(-1))
    az = torch.atan2(d[..., 0], d[..., 2])
    curtain = 0.5 + 0.5 * torch.sin(az * 5 + 1.4 * torch.sin(az * 2 + 1) + up * 3)
    band = smooth(0.22, 0.42, up + 0.06 * torch.sin(az * 3)) * smooth(0.95, 0.45, up) * curtain
    green = torch.stack([0.25 + 0.3 * up, 0.85 - 0.2 * up, 0.62 + 0.2 * up], -1)
    color = mix(color, green, (0.7 * of("aurora") * band).unsqueeze(-1))
    cell = torch.sin(az * 37 + 3 * torch.sin(up * 23)) * torch.sin(up * 41 + 2 * torch.sin(az * 19))
    star = smooth(0.93, 0.985, cell) * smooth(0.16, 0.4, up) * of("stars")
    color = color + 0.7 * star.unsqueeze(-1)
    height, step = of("ridge_height"), of("ridge_step")
    far = 0.62 + 0.3 * torch.sin(az * 3 + 0.7) + 0.2 * torch.sin(az * 7 + 2.0) + 0.08 * torch.sin(az * 17)
    near = 0.30 + 0.2 * torch.sin(az * 2 - 1.1) + 0.14 * torch.sin(az * 5 + 0.4) + 0.05 * torch.sin(az * 13 + 1)
    flat = 0.35 + 0.75 * smooth(-0.1, 0.1, torch.sin(az * 4 + 0.6) + 0.5 * torch.sin(az * 9))
    far = mix(far, flat, step * 0.85)
    edge = 0.006
    color = mix(color, mix(of("far_ridge"), of("horizon"), 0.25), smooth(edge, -edge, up - height * far).unsqueeze(-1))
    return mix(color, of("near_ridge"), smooth(edge, -edge, up - height * near).unsqueeze(-1))


def ground_at(x: Tensor, z: Tensor, shadows: Tensor, light: dict[str, Tensor]) -> Tensor:
    """Ground colour `[1, P, 3]` at points x, z `[1, P]`: patches, a path, a pond, the sea, shadows, pools of light."""
    soft = 0.08
    wave = torch.sin(0.55 * x + 0.8 * torch.sin(0.4 * z)) + torch.sin(0.62 * z + 0.7 * torch.sin(0.5 * x + 1.0))
    fine = torch.sin(2.1 * x + 1.3 * torch.sin(1.7 * z)) * torch.sin(1.9 * z + 0.5)
    patch = smooth(-0.5, 0.9, wave + 0.5 * fine)
    color = mix(light["ground"][:, None], light["ground_patch"][:, None], patch.unsqueeze(-1))
    bend = (x - 1.6 * torch.sin(0.28 * z) * torch.sin(0.11 * z + 0.4)).abs()
    on_path = smooth(0.95 + soft, 0.95 - soft, bend)
    color = mix(color, light["path"][:, None], on_path.unsqueeze(-1))
    px, pz, pr = (light["pond"][:, i, None] for i in range(3))
    shore = torch.sqrt((x - px) ** 2 + (z - pz) ** 2) - pr
    wet = smooth(soft, -soft, shore) * (pr > 0)
    toward = smooth(-pr, pr, z - pz).unsqueeze(-1)
    water = mix(light["water"][:, None], mix(light["zenith"], light["horizon"], 0.6)[:, None], 0.15 + 0.4 * toward)
    # The sea: a wavering shore with a rim of foam, shallow and light near it, deep and dark far out.
    bearing, out = torch.atan2(x, z), torch.sqrt(x * x + z * z)
    depth = out - light["shore"][:, None] - 0.5 * torch.sin(5 * bearing) - 0.3 * torch.sin(11 * bearing + 1.0)
    at_sea = smooth(-soft, soft, depth) * (light["shore"] > 0)[:, None]
    deep = mix(light["water"], light["zenith"], 0.75)[:, None] * 0.8
    swell = 0.5 + 0.5 * torch.sin(1.1 * x + 2 * torch.sin(0.35 * z)) * torch.sin(0.9 * z + 1.5 * torch.sin(0.4 * x))
    sea = mix(light["water"][:, None], deep, smooth(0.5, 16.0, depth + 1.6 * swell).unsqueeze(-1))
    foam = (smooth(0.75, 0.45, depth) * (0.55 + 0.45 * swell)).unsqueeze(-1)
    sea = mix(sea, torch.ones_like(sea), 0.75 * foam)
    shade = _shade(x, z, shadows)
    color = color * (1 - 0.42 * shade).unsqueeze(-1)
    color = mix(color, water, wet.unsqueeze(-1))
    color = mix(color, sea, at_sea.unsqueeze(-1))
    lx, lz = light["lamps"][..., 0], light["lamps"][..., 1]
    pool = (1.0 / (1.0 + 0.55 * ((x[:, None] - lx[..., None]) ** 2 + (z[:, None] - lz[..., None]) ** 2)) ** 1.5).sum(1)
    return color + light["lamp"][:, None] * (0.75 * pool.clamp(0, 1)).unsqueeze(-1)


def _shadows(rounds: Tensor, boxes: Tensor, sun_dir: Tensor) -> Tensor:
    """The capsules `[N, 5]` that things darken, from their foot away from the sun: x, z, the way on in both, radius."""
    solid = torch.minimum(boxes[:, 3], boxes[:, 5]) > 0.2
    boxes, solid = (boxes, solid) if solid.any() else (boxes[:0], solid[:0])
    wide = torch.maximum(boxes[:, 3], boxes[:, 5]) * 0.85 * solid
    foot = torch.cat([rounds[:, :2], boxes[:, [0, 2]]])
    bottom = torch.cat([rounds[:, 6], (boxes[:, 1] - boxes[:, 4]).clamp_min(0)])
    top = torch.cat([rounds[:, 7], boxes[:, 1]])
    radius = torch.cat([rounds[:, 16], wide])
    slope = -sun_dir[::2] / sun_dir[1].clamp_min(0.25)
    return torch.cat([foot + slope * bottom[:, None], slope * (top - bottom)[:, None], radius[:, None]], 1)


def _falling_on(shadows: Tensor, z: Tensor) -> Tensor:
    """Return the `shadows` that touch the band of rows `z`."""
    begin, end, reach = shadows[:, 1], shadows[:, 1] + shadows[:, 3], _outer(shadows[:, 4])
    return shadows[(torch.minimum(begin, end) - reach < z[-1]) & (torch.maximum(begin, end) + reach > z[0])]


def _outer(radius: Tensor) -> Tensor:
    """Distance from its middle line at which a shadow ends."""
    return radius * 1.1 + 0.15


def _shade(x: Tensor, z: Tensor, shadows: Tensor) -> Tensor:
    """Return the darkness of the points, 0 to 1, soft at the edges."""
    if not len(shadows):
        return torch.zeros_like(x)
    ax, az, bx, bz, radius = shadows.T.unsqueeze(-1)
    dx, dz = x - ax, z - az
    along = ((dx * bx + dz * bz) / (bx * bx + bz * bz).clamp_min(1e-4)).clamp(0, 1)
    gap = torch.sqrt((dx - along * bx) ** 2 + (dz - along * bz) ** 2 + 1e-6)
    return smooth(_outer(radius), radius * 0.75, gap).amax(0, keepdim=True)
