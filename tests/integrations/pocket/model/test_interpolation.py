"""Frames between two ends against the redrawing of single pictures."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.camera.poses import pose_from_yaw_pitch
from flashdreams.integrations.pocket.model.interpolation import CHOOSY, End, frames_between, turned_inverse_depth
from flashdreams.integrations.pocket.model.optics import HEIGHT, WIDTH, pixel_rays, seen_next

RAYS, FEW_RAYS = pixel_rays(), pixel_rays(36, 64)


def pose(step: float) -> Tensor:
    """On a way to the right and forward, while the camera turns."""
    return torch.from_numpy(pose_from_yaw_pitch(np.array([0.2 * step, -1.6, 0.5 * step]), 9.0 * step, 3.0)).float()


def end(step: float, seed: int) -> End:
    torch.manual_seed(seed)
    image = F.interpolate(torch.rand(1, 3, 9, 16), size=(HEIGHT, WIDTH), mode="bicubic")
    return End(image, pose(step)[None], torch.rand(1, 36, 64) * 0.8)


def test_frames_are_both_ends_redrawn_and_blended_by_time_and_by_what_had_them_in_view() -> None:
    first, last = end(0.0, 1), end(1.0, 2)
    poses = torch.stack([pose(0.25), pose(0.5), pose(0.75)])
    found = frames_between(first, last, poses[None], RAYS, FEW_RAYS)[0]
    for number, target in enumerate(poses, 1):
        (one, before), (two, after) = (
            seen_next(e.image, e.pose, target[None], turned_inverse_depth(e, target[None], FEW_RAYS), RAYS)
            for e in (first, last)
        )
        log_odds = np.log(number / (4 - number)) + CHOOSY * (after - before)
        wanted = one + (two - one) / (1 + torch.exp(-log_odds))
        assert 0.5 < before.mean() < 1 and 0.5 < after.mean() < 1, "some of it was out of view"
        assert (found[number - 1] - wanted[0]).abs().max() < 1e-3


def test_a_batch_is_as_its_parts_are() -> None:
    ends = [(end(0.0, 1), end(1.0, 2)), (end(2.0, 3), end(0.5, 4))]
    poses = [torch.stack([pose(0.3), pose(0.6)]), torch.stack([pose(1.4), pose(0.9)])]
    first, last = (End(*map(torch.cat, zip(*(pair[i] for pair in ends), strict=True))) for i in (0, 1))
    together = frames_between(first, last, torch.stack(poses), RAYS, FEW_RAYS)
    for found, pair, own in zip(together, ends, poses, strict=True):
        assert (found - frames_between(*pair, own[None], RAYS, FEW_RAYS)[0]).abs().max() < 1e-4
