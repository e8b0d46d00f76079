"""Evens out the seams between tokens: each token's patch may be a little brighter or darker than its neighbours."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.integrations.pocket.model.codec import PATCH

REACH = PATCH // 2
"""Pixels on either side over which a step is spread."""
FAINT_STEP, FAINT_SLOPE = 0.05, 0.02
"""A larger step between two patches, or one where the picture is steeper than that a pixel, is taken for an edge."""


def deblock(image: Tensor) -> Tensor:
    """Pictures `[N, 3, H, W]` in [0, 1] whose faint steps between patches are spread over 8 pixels on either side."""
    return _along_width(_along_width(image).transpose(-1, -2)).transpose(-1, -2)


def _along_width(image: Tensor) -> Tensor:
    patches = image.unflatten(-1, (-1, PATCH))
    left, right = patches[..., :-1, :], patches[..., 1:, :]
    # Where the picture itself goes on rising or falling over the border there is no step.
    rise = (left[..., -1] - left[..., -2] + right[..., 1] - right[..., 0]) / 2
    step = right[..., 0] - left[..., -1] - rise
    slope = ((left[..., -1] - left[..., -3]).abs() + (right[..., 2] - right[..., 0]).abs()) / 2
    height, steepness = step.abs().amax(1, keepdim=True) / FAINT_STEP, slope.amax(1, keepdim=True) / FAINT_SLOPE
    step = step * torch.exp(-height.square() - steepness.square())
    step = F.avg_pool2d(step, (5, 1), stride=1, padding=(2, 0), count_include_pad=False)  # a seam is even along itself
    fade = 0.5 - (torch.arange(REACH, device=image.device) + 0.5) / PATCH
    spread = torch.zeros_like(patches)
    spread[..., :-1, -REACH:] = step[..., None] * fade.flip(0)
    spread[..., 1:, :REACH] -= step[..., None] * fade
    return (patches + spread).flatten(-2)
