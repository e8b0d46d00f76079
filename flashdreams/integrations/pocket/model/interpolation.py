"""Frames between the two ends of a chunk: both ends are redrawn for the cameras between them, and blended."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from flashdreams.integrations.pocket.model.codec import product
from flashdreams.integrations.pocket.model.optics import pixel_grid, sample, seen_next

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
    batch, count = poses.shape[:2]
    inner = poses.flatten(0, 1)
    (earlier, earlier_inside), (later, later_inside) = (
        _redrawn(end, inner, count, rays, few_rays) for end in (first, last)
    )
    time = (torch.arange(1, count + 1, device=poses.device) / (count + 1)).repeat(batch).view(-1, 1, 1, 1)
    weight = torch.sigmoid(torch.logit(time) + CHOOSY * (later_inside - earlier_inside))
    return torch.lerp(earlier, later, weight).unflatten(0, (batch, count))


def _redrawn(end: End, poses: Tensor, count: int, rays: Tensor, few_rays: Tensor) -> tuple[Tensor, Tensor]:
    """`end` as cameras `poses [B * count, 4, 4]` see it, and where it was in view: see `seen_next`."""
    end = End(*(x[:, None].expand(-1, count, *x.shape[1:]).flatten(0, 1) for x in end))
    return seen_next(end.image, end.pose, poses, turned_inverse_depth(end, poses, few_rays), rays)


def turned_inverse_depth(end: End, target: Tensor, few_rays: Tensor) -> Tensor:
    """The inverse depth `[N, h, w]` of `end` as cameras `target` would see it if they had only turned."""
    turn = product(end.pose[:, :3, :3].transpose(1, 2), target[:, :3, :3])
    size = (end.inverse_depth.shape[-2], end.inverse_depth.shape[-1])
    grid = pixel_grid(product(turn, few_rays), size)
    return sample(end.inverse_depth.float().unsqueeze(1), grid)[:, 0]
