"""The pocket world's camera in numbers, and a picture as it would look from where the camera goes next.

The camera's motion is always known. What stands where is not; but the ground is flat and most else is far away, and a
picture redrawn under that assumption is right nearly everywhere: the dreamer is given it and mends the rest.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.integrations.pocket.codec import LATENT_SIZE, PATCH
from flashdreams.integrations.pocket.renderer import FOV_DEGREES
from flashdreams.integrations.pocket.walk import EYE_HEIGHT

HEIGHT, WIDTH = LATENT_SIZE[0] * PATCH, LATENT_SIZE[1] * PATCH
FOCAL = 0.5 * WIDTH / math.tan(math.radians(FOV_DEGREES) / 2)
BACKDROP = 40.0
"""Metres: how far everything is taken to be that is not the ground."""


def pixel_rays() -> Tensor:
    """Rays `[3, H * W]` through the pixels, in camera axes, of depth 1."""
    v, u = torch.meshgrid(torch.arange(HEIGHT) + 0.5 - HEIGHT / 2, torch.arange(WIDTH) + 0.5 - WIDTH / 2, indexing="ij")
    return torch.stack([u / FOCAL, v / FOCAL, torch.ones_like(u)]).flatten(1)


def picture_grid(points: Tensor) -> Tensor:
    """Where points `[N, 3, H * W]` in camera axes lie in the picture: `[N, H, W, 2]` for `sample`, -1..1 inside."""
    x, y, z = points.unbind(1)
    z = z.clamp_min(0.1)
    grid = torch.stack([x / z * (2 * FOCAL / WIDTH), y / z * (2 * FOCAL / HEIGHT)], -1)
    return grid.unflatten(1, (HEIGHT, WIDTH))


def sample(picture: Tensor, grid: Tensor) -> Tensor:
    """`picture [N, C, H, W]` at `grid`; beyond its border, the border."""
    return F.grid_sample(picture, grid, padding_mode="border", align_corners=False)


def seen_next(picture: Tensor, before: Tensor, pose: Tensor, rays: Tensor) -> tuple[Tensor, Tensor]:
    """`picture [N, 3, H, W]` of cameras `before [N, 4, 4]` as cameras `pose` would see it, and where it was in view.

    `rays` are `pixel_rays()`. The second answer, `[N, 1, H, W]`, is 1 where the picture reached and 0 elsewhere.
    """
    back = before[:, :3, :3].transpose(1, 2).float()
    down = pose[:, 1, :3].float() @ rays
    depth = (EYE_HEIGHT / down.clamp_min(1e-4)).clamp_max(BACKDROP).unsqueeze(1)
    shift = back @ (pose[:, :3, 3:] - before[:, :3, 3:]).float()
    points = (back @ pose[:, :3, :3].float()) @ rays * depth + shift
    grid = picture_grid(points)
    inside = (grid.abs().amax(-1) < 1) & (points[:, 2].unflatten(1, (HEIGHT, WIDTH)) > 0.1)
    return sample(picture, grid), inside.float().unsqueeze(1)
