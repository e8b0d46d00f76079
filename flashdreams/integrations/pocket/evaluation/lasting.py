"""Does a dream last? One long walk, looked at from time to time: its brightness, contrast, sharpness and truth."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from flashdreams.integrations.pocket.codec import psnr
from flashdreams.integrations.pocket.evaluation.stage import Samples, Stage, new_seed
from flashdreams.integrations.pocket.walk import FRAMES_PER_CHUNK

PARTS = 5
"""The walk is cut into as many equal parts: minutes, when it takes 5 minutes."""


@dataclass
class Moment:
    """One picture of a walk beside the truth."""

    chunk: int
    """Chunks since the beginning, counted from 1."""
    dreamed: Tensor
    """`[3, H, W]` in [0, 1], like `true`."""
    true: Tensor


def long_walk(stage: Stage, scene: str, chunks: int, at: Collection[int]) -> list[Moment]:
    """The last frames of the chunks `at` (counted from 1) of a random walk of `chunks` chunks in one rollout."""
    rng = stage.rng(scene, 6)
    walk = stage.walks(scene, rng, 1, chunks)[0]
    rollout = stage.world.start(scene, new_seed(rng))
    pictures = {number: frames[-1] for number, frames in enumerate(stage.dream(rollout, walk), 1) if number in at}
    true = stage.truth.pictures(scene, walk[[FRAMES_PER_CHUNK * (number - 1) for number in pictures]])
    return [Moment(number, picture, t) for (number, picture), t in zip(pictures.items(), true, strict=True)]


def lasting(moments: list[Moment], chunks: int) -> Samples:
    """By part of the walk: PSNR, and what the pictures look like beside what the true ones do at the same poses.

    `mean_levels` and `deviation_levels` are those of the pixels, `sharpness_levels` their mean absolute Laplacian; a
    dream that dissolves loses the latter two. `lost_psnr_db` is by how much the last part is worse than the first.
    """
    found: Samples = {}
    for moment in moments:
        part = f"part_{1 + (moment.chunk - 1) * PARTS // chunks}"
        values = {"psnr_db": psnr(moment.dreamed, moment.true).item()}
        for name, picture in (("", moment.dreamed), ("true_", moment.true)):
            values |= {name + key: value for key, value in looks(picture).items()}
        for name, value in values.items():
            found.setdefault(f"{part}_{name}", []).append(value)
    first, last = (found[f"part_{part}_psnr_db"] for part in (1, PARTS))
    found["lost_psnr_db"] = [sum(first) / len(first) - sum(last) / len(last)]
    return found


def looks(picture: Tensor) -> dict[str, float]:
    """Mean, standard deviation and sharpness of `picture [3, H, W]` in [0, 1], in levels of 255."""
    gray = picture.mean(0)
    around = gray[:-2, 1:-1] + gray[2:, 1:-1] + gray[1:-1, :-2] + gray[1:-1, 2:]
    laplacian = (around - 4 * gray[1:-1, 1:-1]).abs().mean()
    values = torch.stack([picture.mean(), picture.std(), laplacian]) * 255
    return dict(zip(("mean_levels", "deviation_levels", "sharpness_levels"), values.tolist(), strict=True))
