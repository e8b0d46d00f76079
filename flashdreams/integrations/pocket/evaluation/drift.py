"""Does a dream last? One long walk, looked at from time to time: its colours, edges and truth."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from flashdreams.integrations.pocket.evaluation.stage import Samples, Stage, new_seed
from flashdreams.integrations.pocket.model.codec import psnr
from flashdreams.integrations.pocket.scenes.movement import FRAMES_PER_CHUNK

BINS = 16
"""Of a colour histogram."""
PARTS = 5
"""The walk is cut into as many equal parts: minutes, when it takes 5 minutes."""


@dataclass
class Moment:
    """One picture of a walk beside the truth."""

    chunk: int
    """Chunks since the beginning, counted from 1."""
    generated: Tensor
    """`[3, H, W]` in [0, 1], like `true`."""
    true: Tensor


def long_camera_path(stage: Stage, scene: str, chunks: int, at: Collection[int]) -> list[Moment]:
    """The last frames of the chunks `at` (counted from 1) of a random walk of `chunks` chunks in one rollout."""
    rng = stage.rng(scene, 6)
    camera_path = stage.camera_paths(scene, rng, 1, chunks)[0]
    rollout = stage.world.start(scene, new_seed(rng))
    images = {
        number: frames[-1] for number, frames in enumerate(stage.generate(rollout, camera_path), 1) if number in at
    }
    true = stage.truth.images(scene, camera_path[[FRAMES_PER_CHUNK * (number - 1) for number in images]])
    return [Moment(number, image, t) for (number, image), t in zip(images.items(), true, strict=True)]


@dataclass
class Usual:
    """Spread of the true images of a scene."""

    spread: dict[str, float]
    """Standard deviation of every look."""
    histogram: Tensor
    """`[3, BINS]`: the mean one."""

    @classmethod
    def of(cls, images: Tensor) -> Usual:
        """Of `pictures [N, 3, H, W]` in [0, 1]."""
        histogram = torch.stack([colours(p) for p in images]).mean(0)
        rows = [looks(p, histogram) for p in images]
        table = {name: torch.tensor([row[name] for row in rows]) for name in rows[0]}
        return cls({name: values.std().item() for name, values in table.items()}, histogram)

    def apart(self, moments: list[Moment]) -> dict[str, float]:
        """By how many of the place's standard deviations the mean looks of dreams and truths differ."""
        generated, true = (
            [looks(image, self.histogram) for image in images]
            for images in ([m.generated for m in moments], [m.true for m in moments])
        )
        gaps = {name: sum(d[name] - t[name] for d, t in zip(generated, true, strict=True)) for name in self.spread}
        return {name: abs(gap) / len(moments) / max(self.spread[name], 1e-6) for name, gap in gaps.items()}


def drift(moments: list[Moment], chunks: int, usual: Usual) -> Samples:
    """By part of the walk: PSNR, and by how many of the place's standard deviations the dream's looks differ.

    A dream that fades, greys out or freezes leaves what is true; `usual_percent` is the share of looks within two
    standard deviations. `lost_psnr_db` is by how much the last part is worse than the first.
    """
    parts: dict[int, list[Moment]] = {}
    for moment in moments:
        parts.setdefault(1 + (moment.chunk - 1) * PARTS // chunks, []).append(moment)
    found: Samples = {"usual_percent": []}
    for part, seen in parts.items():
        found[f"part_{part}_psnr_db"] = [psnr(moment.generated, moment.true).item() for moment in seen]
        for name, apart in usual.apart(seen).items():
            found.setdefault(f"{name}_sigmas", []).append(apart)
            found["usual_percent"].append(100.0 * (apart <= 2))
    first, last = (found[f"part_{part}_psnr_db"] for part in (1, PARTS))
    found["lost_psnr_db"] = [sum(first) / len(first) - sum(last) / len(last)]
    return found


def colours(image: Tensor) -> Tensor:
    """`[3, BINS]`: the share of the pixels of `picture [3, H, W]` in every bin of each colour."""
    return torch.stack([torch.histc(channel, BINS, 0, 1) for channel in image.float()]) / image[0].numel()


def looks(image: Tensor, histogram: Tensor) -> dict[str, float]:
    """Return statistics of `image [3, H, W]` in [0, 1].

    Brightness, contrast (standard deviation), saturation (mean of largest less smallest colour) and edges (mean
    absolute Laplacian) in levels of 255; and the share of pixels that would have to change for its `colours` to be
    those of `histogram`.
    """
    gray = image.mean(0)
    around = gray[:-2, 1:-1] + gray[2:, 1:-1] + gray[1:-1, :-2] + gray[1:-1, 2:]
    edges = (around - 4 * gray[1:-1, 1:-1]).abs().mean()
    saturation = (image.amax(0) - image.amin(0)).mean()
    values = torch.stack([image.mean(), image.std(), saturation, edges]) * 255
    found = dict(zip(("brightness", "contrast", "saturation", "edges"), values.tolist(), strict=True))
    return found | {"colours": (colours(image) - histogram).abs().sum().item() / 6}
