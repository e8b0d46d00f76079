"""How a picture looks in five numbers, and how far a run of pictures is from what a scene looks like."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

NAMES = ("brightness", "contrast", "saturation", "edges", "colours")
EDGE = 0.04
"""Brightness step between neighbouring pixels that counts as an edge, of 1."""
_BINS = 4


def brightness_of(pictures: Tensor) -> Tensor:
    """Rec. 601 luma `[N, H, W]` of pictures `[N, 3, H, W]` in [0, 1]."""
    return (pictures * pictures.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1)


def looks(pictures: Tensor) -> Tensor:
    """Brightness, contrast, saturation and edge density `[N, 4]` of pictures `[N, 3, H, W]` in [0, 1]."""
    luma = brightness_of(pictures)
    saturation = pictures.amax(1) - pictures.amin(1)
    across = (luma.diff(dim=-1)[:, :-1].abs()).maximum(luma.diff(dim=-2)[..., :-1].abs())
    edges = (across > EDGE).float().mean(dim=(1, 2))
    return torch.stack([luma.mean(dim=(1, 2)), luma.std(dim=(1, 2)), saturation.mean(dim=(1, 2)), edges], -1)


def colour_histogram(pictures: Tensor) -> Tensor:
    """Shares `[N, 64]` of the pixels in a 4x4x4 grid of colours."""
    steps = (pictures * _BINS).long().clamp(0, _BINS - 1)
    cells = (steps[:, 0] * _BINS + steps[:, 1]) * _BINS + steps[:, 2]
    counts = torch.zeros(len(pictures), _BINS**3, device=pictures.device)
    counts.scatter_add_(1, cells.flatten(1), torch.ones_like(cells.flatten(1), dtype=counts.dtype))
    return counts / cells[0].numel()


@dataclass
class SceneLooks:
    """The renderer's distribution for one scene: mean and standard deviation of every statistic over pictures."""

    mean: Tensor
    deviation: Tensor
    histogram: Tensor
    """`[64]`: the mean colour histogram."""

    @classmethod
    def of(cls, pictures: Tensor) -> SceneLooks:
        """From rendered pictures `[N, 3, H, W]`. Raises ValueError for less than two."""
        if len(pictures) < 2:
            raise ValueError(f"a distribution needs at least 2 pictures, got {len(pictures)}")
        histogram = colour_histogram(pictures).mean(0)
        values = _five(pictures, histogram)
        return cls(values.mean(0), values.std(0).clamp_min(1e-4), histogram)

    def deviations(self, pictures: Tensor) -> dict[str, float]:
        """By how many of the renderer's standard deviations a run of pictures `[N, 3, H, W]` is off, by statistic.

        The statistics are averaged over the run first. `colours` is the distance of the histograms: 0 is like the
        renderer's average picture, and only more than usual is off.
        """
        off = (_five(pictures, self.histogram).mean(0) - self.mean) / self.deviation
        return dict(zip(NAMES, off.tolist(), strict=True))


def _five(pictures: Tensor, histogram: Tensor) -> Tensor:
    distance = 0.5 * (colour_histogram(pictures) - histogram).abs().sum(1, keepdim=True)
    return torch.cat([looks(pictures), distance], 1)
