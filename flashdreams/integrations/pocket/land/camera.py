"""The camera of every view: its rays, and the mist that hides what is far."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

WIDTH, HEIGHT = 256, 144
FOV_DEGREES = 75.0
"""Horizontal field of view of every picture."""
EYE_HEIGHT = 1.6
THICK = 36.0
"""Metres at which the distance itself becomes mist."""


def camera_pose(x: float, z: float, yaw: float, pitch: float) -> Tensor:
    """Camera-to-world `[4, 4]` (right, down, forward) at eye height; angles in radians, yaw from north to east."""
    cy, sy, cp, sp = math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch)
    rows = [[cy, sy * sp, sy * cp, x], [0, cp, -sp, -EYE_HEIGHT], [-sy, cy * sp, cy * cp, z], [0, 0, 0, 1]]
    return torch.tensor(rows, dtype=torch.float32)


def camera_rays(pose: Tensor, width: int, height: int, pixels: Tensor | None = None) -> Tensor:
    """Unit directions `[3, height, width]` (east, up, north) through pixels of a camera-to-world `pose [4, 4]`.

    Only through the ones numbered `pixels [P]`, if given: `[3, P]`.
    """
    local = _local_rays(width, height)
    turned = pose[:3, :3].float() @ (local if pixels is None else local.index_select(1, pixels))
    turned *= torch.tensor([1.0, -1.0, 1.0])[:, None]
    return turned.unflatten(1, (height, width)) if pixels is None else turned


@lru_cache(maxsize=8)
def _local_rays(width: int, height: int) -> Tensor:
    """Unit directions `[3, height * width]` in camera axes."""
    focal = 0.5 * width / math.tan(math.radians(FOV_DEGREES) / 2)
    v, u = torch.meshgrid(torch.arange(height) + 0.5 - height / 2, torch.arange(width) + 0.5 - width / 2, indexing="ij")
    local = torch.stack([u / focal, v / focal, torch.ones_like(u)]).flatten(1)
    return local / local.norm(dim=0)


def camera_origin(pose: Tensor) -> Tensor:
    """`[3]` (east, up, north)."""
    return pose[:3, 3].float() * torch.tensor([1.0, -1.0, 1.0])


def mist(distance: Tensor, haze: float, thick: float = THICK) -> Tensor:
    """Return the share, 0 to 1, of a thing at `distance` metres that mist hides; at `thick` metres it hides most."""
    return 1 - torch.exp(-haze * distance - (distance.clamp_max(200.0) / thick) ** 3)
