"""Frames between the two ends of a chunk: both ends are redrawn for the cameras between them, and blended."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.integrations.pocket.model.codec import product
from flashdreams.integrations.pocket.model.optics import FOCAL, HEIGHT, WIDTH, pixel_grid, sample

CHOOSY = 6.0
"""Log-odds by which a pixel between two ends is rather taken from the one that had it in view."""


class End(NamedTuple):
    """A picture `[N, 3, H, W]`, its camera `[N, 4, 4]`, and the inverse depth `[N, h, w]` in 1/m of what it shows."""

    image: Tensor
    pose: Tensor
    inverse_depth: Tensor


def frames_between(first: End, last: End, poses: Tensor, rays: Tensor, few_rays: Tensor) -> Tensor:
    """Frames `[B, F, 3, H, W]` at `poses [B, F, 4, 4]`, evenly in time between the ends of a chunk.

    `rays` are `pixel_rays()`, `few_rays` those of the ends' inverse depths.
    """
    count = poses.shape[1]
    (earlier, before), (later, after) = (_redrawn(end, poses, rays, few_rays) for end in (first, last))
    time = torch.arange(1, count + 1, device=poses.device) / (count + 1)
    weight = torch.sigmoid(torch.add(torch.logit(time).view(-1, 1, 1), after - before, alpha=CHOOSY))
    return torch.lerp(earlier, later, weight[:, None]).transpose(1, 2)


def frames_until(before: End | None, end: End, poses: Tensor, rays: Tensor, few_rays: Tensor) -> Tensor:
    """The frames `[F, 3, H, W]` of a chunk at `poses [F, 4, 4]`, of which the last is its `end`: see `frames_between`.

    The first chunk of all begins with nothing, and has one frame.
    """
    if before is None or len(poses) < 2:
        return end.image
    return torch.cat([frames_between(before, end, poses[None, :-1], rays, few_rays)[0], end.image])


def _redrawn(end: End, poses: Tensor, rays: Tensor, few_rays: Tensor) -> tuple[Tensor, Tensor]:
    """`end` as cameras `poses [B, F, 4, 4]` see it, `[B, 3, F, H, W]`, and where it was in view, `[B, F, H, W]`.

    As `optics.seen_next` does it. All frames of an end are read as one tall picture, so that the end is not copied,
    and coordinates lie in planes, so that nothing is put together for the reading.
    """
    (batch, count), size = poses.shape[:2], (end.image.shape[-2], end.image.shape[-1])
    back = end.pose[:, None, :3, :3].transpose(2, 3)
    turn, shift = product(back, poses[..., :3, :3]), product(back, poses[..., :3, 3:] - end.pose[:, None, :3, 3:])
    scale = torch.tensor([2 * FOCAL / WIDTH, 2 * FOCAL / HEIGHT, 1.0], device=poses.device)
    # Rows of all cameras: first those of x, then of y, then of z, in the units of `optics.sample`.
    rows = (turn * scale[:, None]).transpose(1, 2).flatten(1, 2)
    few_size = (end.inverse_depth.shape[-2], end.inverse_depth.shape[-1])
    directions = product(rows, few_rays).unflatten(1, (3, count))
    turned = _tall_sample(end.inverse_depth.float()[:, None], _on_picture(directions), few_size)
    # One plane after the other: PyTorch enlarges several channels more slowly.
    fine = F.interpolate(turned.flatten(0, 2)[:, None], size, mode="bilinear").view(batch, 1, count, -1)
    # Points over their depth: only directions matter, and the sky may be as far as it likes.
    away = (shift[..., 0] * scale).transpose(1, 2)[..., None]
    points = torch.addcmul(product(rows, rays).unflatten(1, (3, count)), away, fine)
    aside = points[:, :2].abs()
    inside = torch.maximum(aside[:, 0], aside[:, 1]) < points[:, 2]
    return _tall_sample(end.image, _on_picture(points), size), inside.float().unflatten(-1, size)


def _on_picture(points: Tensor) -> Tensor:
    """`[B, 2, F, R]`: coordinates for `optics.sample` of points `[B, 3, F, R]` in its units."""
    return points[:, :2] / points[:, 2:].clamp_min(0.1)


def _tall_sample(image: Tensor, grid: Tensor, size: tuple[int, int]) -> Tensor:
    """`image [B, C, h, w]` at `grid [B, 2, F, R]`, rows of a picture of `size`: `[B, C, F, *size]`."""
    tall = grid.flatten(2).unflatten(2, (-1, size[1])).permute(0, 2, 3, 1)
    return sample(image, tall).unflatten(2, (-1, size[0]))


def turned_inverse_depth(end: End, target: Tensor, few_rays: Tensor) -> Tensor:
    """The inverse depth `[N, h, w]` of `end` as cameras `target` would see it if they had only turned."""
    turn = product(end.pose[:, :3, :3].transpose(1, 2), target[:, :3, :3])
    size = (end.inverse_depth.shape[-2], end.inverse_depth.shape[-1])
    grid = pixel_grid(product(turn, few_rays), size)
    return sample(end.inverse_depth.float().unsqueeze(1), grid)[:, 0]
