"""How a camera moved between two pictures when it moves in every way at once; `motion` does so for one way alone.

The same idea: the true distances of the first picture say what the second should look like after a supposed motion.
Coarse to fine, two kinds of motion at a time, the amounts are found that explain the second picture best.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from flashdreams.camera.poses import pose_from_yaw_pitch, yaw_pitch_of
from flashdreams.integrations.pocket.evaluation.motion import PARTS, Pair

Floats = npt.NDArray[np.float64]

SIZE = (54, 96)
"""Height and width of the pictures that are compared."""
RANGES = {"forward": 0.7, "right": 0.7, "yaw": 14.0, "pitch": 14.0}
"""The largest motion looked for from chunk to chunk, in metres and degrees; a visitor's largest is 0.4 and 10."""
CHOICES = 9
"""Amounts tried at a time of each of two kinds, from minus to plus the range."""
SHRINK = 0.6
"""By how much the range narrows from round to round."""
ROUNDS = 8


@torch.no_grad()
def registered_motion(before: Tensor, after: Tensor, distance: Tensor, pitch_deg: float) -> dict[str, float]:
    """The motion by `PARTS` from picture `before` to `after`, both `[3, H, W]` in [0, 1].

    Args:
        before: what the camera saw first.
        after: what it saw then.
        distance: metres `[H, W]` to what the first picture shows.
        pitch_deg: how far up the first camera looked.
    """
    pair = Pair(before, after, distance, pitch_deg, SIZE)
    best = torch.zeros(len(PARTS))
    span = largest = torch.tensor([RANGES[part] for part in PARTS])
    grid = torch.cartesian_prod(torch.linspace(-1, 1, CHOICES), torch.linspace(-1, 1, CHOICES))
    for _ in range(ROUNDS):
        # A turn looks much like a step aside, and a tilt like a step ahead: each pair is searched together.
        for searched in ([2, 1], [3, 0]):
            tried = best.repeat(len(grid), 1)
            tried[:, searched] += grid * span[searched]
            best = tried[pair.misfit(tried, largest).argmin()]
        span = span * SHRINK
    return dict(zip(PARTS, best.tolist(), strict=True))


def moved_pose(pose: Floats, motion: dict[str, float]) -> Floats:
    """The pose `[4, 4]` after a motion by `PARTS` from `pose`, its steps along the heading half-way."""
    yaw, pitch = yaw_pitch_of(pose)
    middle = math.radians(yaw + motion["yaw"] / 2)
    sin, cos = math.sin(middle), math.cos(middle)
    x = motion["forward"] * sin + motion["right"] * cos
    z = motion["forward"] * cos - motion["right"] * sin
    return pose_from_yaw_pitch(pose[:3, 3] + [x, 0.0, z], yaw + motion["yaw"], pitch + motion["pitch"])
