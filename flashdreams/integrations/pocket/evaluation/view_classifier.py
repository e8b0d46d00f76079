"""A small network that tells from a view which kind of land it shows, how much of what, the time of day, the weather.

For evaluation only. It is trained on true views of procedural land (`training/train_view_classifier.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flashdreams.integrations.pocket.land.kinds import ATTRIBUTES, KINDS

ROWS, COLUMNS = 36, 64
"""Size of the views that it looks at: small, so that a soft picture and a sharp one tell it the same."""
FEATURES = 64
TIMES = ("day", "twilight", "night")
"""Times of day."""
WEATHERS = ("clouds", "fog")
"""Weathers that a view may show, each or both."""
_KIND, _TIME = slice(0, len(KINDS)), slice(len(KINDS), len(KINDS) + len(TIMES))
_AMOUNT = slice(_TIME.stop, _TIME.stop + len(ATTRIBUTES))
_WEATHER = slice(_AMOUNT.stop, _AMOUNT.stop + len(WEATHERS))


@dataclass(frozen=True)
class Reading:
    """Probabilities that the classifier gives to what a view shows, or to what several show in the mean."""

    kinds: Mapping[str, float]
    times: Mapping[str, float]
    amounts: Mapping[str, float]
    """By attribute the square root of the share of the view that shows it: no probability, but the expected root.

    The root, since a rock takes a hundredth of a view of rocks, and trees take half of one of a forest.
    """
    weather: Mapping[str, float]


class ViewClassifier(nn.Module):
    """Logits of kinds, times, attributes and weathers from views, and the features before them."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([_layer(4, 24), _layer(24, 48), _layer(48, 96)])
        self.narrow = nn.Linear(2 * (24 + 48 + 96), FEATURES)
        self.heads = nn.Linear(FEATURES, _WEATHER.stop)

    def features(self, views: Tensor) -> Tensor:
        """`[N, 64]` of views `[N, 3, H, W]` in 0..1 of any size."""
        small = F.interpolate(views, (ROWS, COLUMNS), mode="area") * 2 - 1
        height = torch.linspace(-1, 1, ROWS).view(1, 1, -1, 1).expand(len(small), 1, ROWS, COLUMNS)
        seen, pooled = torch.cat([small, height], 1), []
        for layer in self.layers:
            seen = layer(seen)
            pooled += [seen.mean((2, 3)), seen.amax((2, 3))]  # how much there is of what, in all sizes
        return torch.tanh(self.narrow(torch.cat(pooled, 1)))

    def forward(self, views: Tensor) -> Tensor:
        """`[N, 18]` logits of views `[N, 3, H, W]` in 0..1."""
        return self.heads(self.features(views))

    @torch.no_grad()
    def read(self, views: Tensor) -> Reading:
        """Return the mean probabilities over views `[N, 3, H, W]` of one place in one light."""
        logits = self(views)
        kinds, times = (logits[:, part].softmax(1).mean(0).tolist() for part in (_KIND, _TIME))
        amounts, weather = (logits[:, part].sigmoid().mean(0).tolist() for part in (_AMOUNT, _WEATHER))
        return Reading(
            dict(zip(KINDS, kinds, strict=True)),
            dict(zip(TIMES, times, strict=True)),
            dict(zip(ATTRIBUTES, amounts, strict=True)),
            dict(zip(WEATHERS, weather, strict=True)),
        )


@dataclass(frozen=True)
class Labels:
    """Truth about views: indices of kind and time `[N]`, amounts `[N, 6]` and weathers `[N, 2]` in 0..1."""

    kind: Tensor
    time: Tensor
    amounts: Tensor
    weather: Tensor


def classifier_loss(logits: Tensor, labels: Labels) -> Tensor:
    """Sum of the heads' cross entropies; those of amounts and weathers are least where their expectation is right."""
    loss = F.cross_entropy(logits[:, _KIND], labels.kind) + F.cross_entropy(logits[:, _TIME], labels.time)
    for part, share in ((_AMOUNT, labels.amounts), (_WEATHER, labels.weather)):
        loss = loss + F.binary_cross_entropy_with_logits(logits[:, part], share)
    return loss


def right_shares(logits: Tensor, labels: Labels) -> dict[str, float]:
    """Share of views that the logits tell right: the kind, the time, and clear cases of every attribute and weather."""
    result = {
        "kind": float((logits[:, _KIND].argmax(1) == labels.kind).float().mean()),
        "time": float((logits[:, _TIME].argmax(1) == labels.time).float().mean()),
    }
    for names, part, share, (low, some, high) in (
        (ATTRIBUTES, _AMOUNT, labels.amounts, (0.05, 0.1, 0.2)),
        (WEATHERS, _WEATHER, labels.weather, (0.25, 0.5, 0.75)),
    ):
        clear = (share < low) | (share > high)
        right = ((logits[:, part].sigmoid() > some) == (share > some)) & clear
        for index, name in enumerate(names):
            result[name] = float(right[:, index].sum() / clear[:, index].sum().clamp_min(1))
    return result


def _layer(n_in: int, n_out: int) -> nn.Sequential:
    """Half the size along each side."""
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, 2, 1), nn.GroupNorm(4, n_out), nn.SiLU())
