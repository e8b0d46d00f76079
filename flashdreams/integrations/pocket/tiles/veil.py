"""The mist in front of tiles that are not dreamed yet: computed, and laid over the network's picture."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.integrations.pocket.land.camera import HEIGHT, WIDTH
from flashdreams.integrations.pocket.land.light import Light
from flashdreams.integrations.pocket.land.sky import mist_color
from flashdreams.integrations.pocket.tiles.sight import LocalState, Seen

_FINE = 4
"""Spots along each side of a tile where the mist is told."""
_NEAR = 4.0
"""Metres around the visitor without mist; over as many it begins."""
_PLANES, _STEPS, _FARTHEST = 48, 28, 56.0


def clear_map(clear: Tensor, beyond: float = 0.0) -> Tensor:
    """`[H, H]`, four spots to a tile's side: how clear it is there, of `clear [n, n]` of whole tiles, 0 to 1.

    It falls off towards tiles that are not clear, and towards the edge, `beyond` which all is as clear as that.
    """
    fine = clear.repeat_interleave(_FINE, 0).repeat_interleave(_FINE, 1)
    return F.avg_pool2d(F.pad(fine[None, None], (1, 1, 1, 1), value=beyond), 3, 1)[0, 0]


def mist_over(known: Tensor, place: LocalState, seen: Seen, *, stored: bool) -> tuple[Tensor, Tensor]:
    """Return `clear_map` of the clearness `known [n, n]` of whole tiles, and the `veil` over what is `seen`.

    The ground of a `stored` place goes on where its tiles end; things may come into sight there.
    """
    clear = clear_map(known)
    return clear, veil(place, clear, seen, clear_map(known, 1.0) if stored else None)


def veil(place: LocalState, clear: Tensor, seen: Seen, ground: Tensor | None = None) -> Tensor:
    """`[72, 128]`: how much of what each ray sees is hidden, 0 to 1, with `clear` of `clear_map` over the place.

    For rays that end on the ground with `ground` in its place, if given.
    """
    found = _hidden(place, clear, seen, "zeros")
    if ground is not None:
        found = torch.where(seen.features[1] > 0, _hidden(place, ground, seen, "border"), found)
    return torch.where(seen.inverse_depth > 0, found, 0.0)


def _hidden(place: LocalState, clear: Tensor, seen: Seen, beyond: str) -> Tensor:
    """`[72, 128]`, of whatever the rays see; `beyond` the edge as `grid_sample` pads."""
    rays = seen.rays
    planes, origin = rays.planes(_PLANES), rays.origin
    steps = torch.linspace(0, _FARTHEST, _STEPS)
    x, z = origin[0] + planes.sin()[:, None] * steps, origin[2] + planes.cos()[:, None] * steps
    here = F.grid_sample(clear[None, None], place.flat(x, z)[None], padding_mode=beyond, align_corners=False)[0, 0]
    hidden = ((1 - here) * ((steps - _NEAR) / _NEAR).clamp(0, 1)).cummax(1).values
    spot = torch.stack([seen.level * (2 / _FARTHEST), rays.share() * 2]).sub_(1).permute(1, 2, 0)
    return F.grid_sample(hidden[None, None], spot[None], padding_mode="border", align_corners=True)[0, 0]


def veiled(image: Tensor, hidden: Tensor, seen: Seen, light: Light) -> Tensor:
    """`image [3, 144, 256]` with mist of the horizon's colour where what is `seen` is `hidden [72, 128]`."""
    planes = torch.cat([mist_color(seen.rays.direction, light), hidden[None]])[None]
    *color, share = F.interpolate(planes, size=(HEIGHT, WIDTH), mode="bilinear")[0]
    if seen.sharp is not None:
        share = share * (1 - seen.sharp.sky[3])  # the mist before the ground beside must not spread over the sky
    return torch.lerp(image, torch.stack(color), share)
