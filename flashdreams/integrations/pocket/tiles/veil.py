"""The mist in front of tiles that are not dreamed yet: computed, and laid over the network's picture."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.integrations.pocket.land.camera import HEIGHT, WIDTH
from flashdreams.integrations.pocket.land.light import Light
from flashdreams.integrations.pocket.land.sky import horizon_colors, horizon_glow
from flashdreams.integrations.pocket.tiles.rays import Rays
from flashdreams.integrations.pocket.tiles.sight import LocalState, Seen

_FINE = 4
"""Spots along each side of a tile where the mist is told."""
_NEAR = 4.0
"""Metres around the visitor without mist; over as many it begins."""
_PLANES, _STEPS, _FARTHEST = 48, 28, 56.0


def clear_map(clear: Tensor) -> Tensor:
    """`[H, H]`, four spots to a tile's side: how clear it is there, of `clear [n, n]` of whole tiles, 0 to 1.

    It falls off towards tiles that are not clear, and towards the edge.
    """
    fine = clear.repeat_interleave(_FINE, 0).repeat_interleave(_FINE, 1)
    return F.avg_pool2d(F.pad(fine[None, None], (1, 1, 1, 1)), 3, 1)[0, 0]


def veil(place: LocalState, clear: Tensor, seen: Seen) -> Tensor:
    """`[72, 128]`: how much of what each ray sees is hidden, 0 to 1, with `clear` of `clear_map` over the place."""
    rays = seen.rays
    planes, origin = rays.planes(_PLANES), rays.origin
    steps = torch.linspace(0, _FARTHEST, _STEPS)
    x, z = origin[0] + planes.sin()[:, None] * steps, origin[2] + planes.cos()[:, None] * steps
    here = F.grid_sample(clear[None, None], place.flat(x, z)[None], align_corners=False)[0, 0]
    hidden = ((1 - here) * ((steps - _NEAR) / _NEAR).clamp(0, 1)).cummax(1).values
    spot = torch.stack([seen.level * (2 / _FARTHEST), rays.share() * 2]).sub_(1).permute(1, 2, 0)
    found = F.grid_sample(hidden[None, None], spot[None], padding_mode="border", align_corners=True)[0, 0]
    return torch.where(seen.inverse_depth > 0, found, 0.0)


def veiled(image: Tensor, hidden: Tensor, rays: Rays, light: Light) -> Tensor:
    """`image [3, 144, 256]` with mist of the horizon's colour where it is `hidden [72, 128]`."""
    planes = torch.stack([horizon_glow(rays.direction, light), hidden])[:, None]
    glow, share = F.interpolate(planes, size=(HEIGHT, WIDTH), mode="bilinear")
    plain, sun = (color[:, None, None] for color in horizon_colors(light))
    return torch.lerp(image, torch.lerp(plain, sun, glow), share)
