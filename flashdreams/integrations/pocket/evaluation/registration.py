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
from torch.nn import functional as F

from flashdreams.camera.poses import pose_from_yaw_pitch, yaw_pitch_of
from flashdreams.integrations.pocket.evaluation.motion import PARTS
from flashdreams.integrations.pocket.optics import FOV_DEGREES

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
_CUT = 0.5
"""A pixel's error counts for no more than this share of the picture's contrast: something hidden came into view."""


@torch.no_grad()
def registered_motion(before: Tensor, after: Tensor, distance: Tensor, pitch_deg: float) -> dict[str, float]:
    """The motion by `PARTS` from picture `before` to `after`, both `[3, H, W]` in [0, 1].

    Args:
        before: what the camera saw first.
        after: what it saw then.
        distance: metres `[H, W]` to what the first picture shows.
        pitch_deg: how far up the first camera looked.
    """
    scene = _Scene(before, after, distance, math.radians(pitch_deg))
    best = torch.zeros(len(PARTS))
    span = torch.tensor([RANGES[part] for part in PARTS])
    grid = torch.cartesian_prod(torch.linspace(-1, 1, CHOICES), torch.linspace(-1, 1, CHOICES))
    for _ in range(ROUNDS):
        # A turn looks much like a step aside, and a tilt like a step ahead: each pair is searched together.
        for pair in ([2, 1], [3, 0]):
            tried = best.repeat(len(grid), 1)
            tried[:, pair] += grid * span[pair]
            best = tried[scene.misfit(tried).argmin()]
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


class _Scene:
    """Two pictures and what is known of the first."""

    def __init__(self, before: Tensor, after: Tensor, distance: Tensor, pitch: float) -> None:
        (h, w), self.pitch = SIZE, pitch
        self.first, self.second = (F.adaptive_avg_pool2d(picture, SIZE) for picture in (before, after))
        self.contrast = self.first.std().clamp_min(0.02)
        self.focal = 0.5 * w / math.tan(math.radians(FOV_DEGREES) / 2)
        v, u = torch.meshgrid(torch.arange(h) + 0.5 - h / 2, torch.arange(w) + 0.5 - w / 2, indexing="ij")
        rays = F.normalize(torch.stack([u / self.focal, v / self.focal, torch.ones_like(u)]), dim=0)
        nearness = F.adaptive_avg_pool2d(1 / distance[None].clamp(0.1, 1000.0), SIZE)
        self.points = _tilted(rays / nearness, torch.tensor(pitch))  # level axes: x right, y down, z ahead

    def misfit(self, motions: Tensor) -> Tensor:
        """How badly each of `motions [N, 4]` explains the second picture, `[N]`."""
        forward, right, yaw, tilt = (motions[:, i, None, None] for i in range(len(PARTS)))
        turn = yaw.deg2rad()
        x, y, z = self.points
        # The step is along the heading half-way through the turn.
        half = turn / 2
        x = x - (forward * half.sin() + right * half.cos())
        z = z - (forward * half.cos() - right * half.sin())
        x, z = turn.cos() * x - turn.sin() * z, turn.sin() * x + turn.cos() * z
        points = torch.stack(torch.broadcast_tensors(x, y, z))
        x, y, z = _tilted(points, -(self.pitch + tilt.deg2rad()))
        ahead, z = z > 0.2, z.clamp_min(0.2)
        (h, w) = SIZE
        grid = torch.stack([x / z * (2 * self.focal / w), y / z * (2 * self.focal / h)], -1)
        inside = ahead & (grid.abs().amax(-1) < 1)
        second = self.second.expand(len(motions), -1, -1, -1)
        colours = F.grid_sample(second, grid, padding_mode="border", align_corners=False)
        error = ((colours - self.first).abs().mean(1) / self.contrast).clamp_max(_CUT)
        misfit = (error * inside).sum((1, 2)) / inside.sum((1, 2)).clamp_min(1)
        # Where nothing tells motions apart, as before an even sky, the smallest is the answer.
        largest = torch.tensor(list(RANGES.values()))
        return misfit + 1e-4 * (motions.abs() / largest).sum(1)


def _tilted(points: Tensor, angle: Tensor) -> Tensor:
    """Points `[3, ...]` in the axes of a camera, as a camera sees them that looks down from it by `angle` radians."""
    x, y, z = points
    return torch.stack(torch.broadcast_tensors(x, angle.cos() * y - angle.sin() * z, angle.sin() * y + angle.cos() * z))
