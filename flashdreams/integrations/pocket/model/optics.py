"""The pocket world's camera in numbers, and a picture as it would look from where the camera goes next.

The camera's motion is always known. How far things are is remembered by the scene encoder, and the ground is flat. So
the last picture can be redrawn for the next camera nearly rightly: the denoiser is given that and mends the rest.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.integrations.pocket.model.codec import LATENT_SIZE, PATCH, product
from flashdreams.integrations.pocket.scenes.movement import EYE_HEIGHT

FOV_DEGREES = 75.0
"""Horizontal field of view of every picture of this world."""
HEIGHT, WIDTH = LATENT_SIZE[0] * PATCH, LATENT_SIZE[1] * PATCH
FOCAL = 0.5 * WIDTH / math.tan(math.radians(FOV_DEGREES) / 2)
BACKDROP = 40.0
"""Metres: how far the sky and the hills are taken to be, and the ground at most."""


def pixel_rays(height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    """Rays `[3, height * width]` through the pixels of a picture, in camera axes, of depth 1."""
    focal = 0.5 * width / math.tan(math.radians(FOV_DEGREES) / 2)
    v, u = torch.meshgrid(torch.arange(height) + 0.5 - height / 2, torch.arange(width) + 0.5 - width / 2, indexing="ij")
    return torch.stack([u / focal, v / focal, torch.ones_like(u)]).flatten(1)


def pixel_grid(points: Tensor, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Tensor:
    """Project points `[N, 3, h * w]` in camera axes into the picture: `[N, h, w, 2]` for `sample`, -1..1 inside."""
    x, y, z = points.unbind(1)
    z = z.clamp_min(0.1)
    grid = torch.stack([x / z * (2 * FOCAL / WIDTH), y / z * (2 * FOCAL / HEIGHT)], -1)
    return grid.unflatten(1, size)


def sample(image: Tensor, grid: Tensor) -> Tensor:
    """`picture [N, C, H, W]` at `grid`; beyond its border, the border."""
    return F.grid_sample(image, grid, padding_mode="border", align_corners=False)


def ground_inverse_depth(pose: Tensor, rays: Tensor) -> Tensor:
    """Inverse depth `[N, R]` in 1/m of an empty place, for `rays [3, R]` of depth 1 in the axes of cameras `pose`."""
    return (product(pose[:, 1, :3], rays) / EYE_HEIGHT).clamp_min(1 / BACKDROP)


def seen_next(
    image: Tensor, before: Tensor, pose: Tensor, inverse_depth: Tensor, rays: Tensor
) -> tuple[Tensor, Tensor]:
    """`picture [N, 3, H, W]` of cameras `before [N, 4, 4]` as cameras `pose` would see it, and where it was in view.

    `inverse_depth [N, h, w]` in 1/m is that of what `pose` sees, at any resolution; `rays` are `pixel_rays()`. The
    second answer, `[N, 1, H, W]`, is 1 where the picture reached and 0 elsewhere.
    """
    back = before[:, :3, :3].transpose(1, 2)
    fine = F.interpolate(inverse_depth.float().unsqueeze(1), (HEIGHT, WIDTH), mode="bilinear")
    shift = product(back, pose[:, :3, 3:] - before[:, :3, 3:])
    # Points over their depth: only directions matter, and the sky may be as far as it likes.
    points = product(product(back, pose[:, :3, :3]), rays) + shift * fine.flatten(2)
    grid = pixel_grid(points)
    x, y = grid.abs().unbind(-1)
    inside = (torch.maximum(x, y) < 1) & (points[:, 2].unflatten(1, (HEIGHT, WIDTH)) > 0.1)
    return sample(image, grid), inside.float().unsqueeze(1)
