"""How far a camera moved between two pictures, found by registration: what was commanded plays no part in it.

The renderer knows how far away everything is that the first camera saw. Moving its pixels by a supposed motion says
what the second picture should look like; of many amounts of one kind of motion, the one that explains the second
picture best is the answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.camera.poses import yaw_pitch_of
from flashdreams.integrations.pocket.optics import FOV_DEGREES

Floats = npt.NDArray[np.float64]

PARTS = ("forward", "right", "yaw", "pitch")
"""Kinds of motion: metres ahead and to the right, degrees to the right and upwards."""
SIZE = (36, 64)
"""Height and width of the pictures that are compared: small, so that a blurred dream can be compared as well."""
CHOICES = 53
"""How many amounts are tried, from minus to plus the largest; an odd number, so that 0 is one of them."""
_CUT = 0.5
"""A pixel's error counts for no more than this share of the picture's contrast: something hidden came into view."""


def commanded_motion(before: Floats, after: Floats) -> dict[str, float]:
    """The motion by `PARTS` from camera-to-world pose `[4, 4]` to another; steps along the heading half-way."""
    (yaw_a, pitch_a), (yaw_b, pitch_b) = yaw_pitch_of(before), yaw_pitch_of(after)
    turn = (yaw_b - yaw_a + 180) % 360 - 180
    middle, (x, _, z) = math.radians(yaw_a + turn / 2), after[:3, 3] - before[:3, 3]
    forward, right = x * math.sin(middle) + z * math.cos(middle), x * math.cos(middle) - z * math.sin(middle)
    return {"forward": float(forward), "right": float(right), "yaw": turn, "pitch": pitch_b - pitch_a}


@dataclass
class View:
    """A picture, its camera's pitch, and how far away everything in it is: what motions are measured from."""

    picture: Tensor
    """`[3, H, W]` in [0, 1]"""
    pose: Floats
    """`[4, 4]`"""
    distance: Tensor
    """`[H, W]` in metres."""

    @torch.no_grad()
    def moved(self, after: Tensor, part: str, largest: float) -> float:
        """How far the camera moved by the time of picture `after [3, H, W]`, if it moved in the way of `part` alone.

        In metres or degrees, at most `largest` either way.
        """
        half = CHOICES // 2
        amounts = torch.arange(-half, half + 1) * (largest / half)
        first, second = (F.adaptive_avg_pool2d(p, SIZE) for p in (self.picture, after))
        grid, inside = self._seen_at(amounts, PARTS.index(part))
        colours = F.grid_sample(second.expand(CHOICES, -1, -1, -1), grid, padding_mode="border", align_corners=False)
        contrast = first.std().clamp_min(0.02)
        error = ((colours - first).abs().mean(1) / contrast).clamp_max(_CUT)
        misfit = (error * inside).sum((1, 2)) / inside.sum((1, 2)).clamp_min(1)
        # Where nothing tells amounts apart, as before an even sky, the smallest is the answer.
        return float(amounts[(misfit + 1e-4 * amounts.abs() / largest).argmin()])

    def _seen_at(self, amounts: Tensor, part: int) -> tuple[Tensor, Tensor]:
        """Where this picture's pixels are after motions: a sampling grid `[N, h, w, 2]`, and which are in view."""
        (h, w), pitch = SIZE, math.radians(yaw_pitch_of(self.pose)[1])
        focal = 0.5 * w / math.tan(math.radians(FOV_DEGREES) / 2)
        v, u = torch.meshgrid(torch.arange(h) + 0.5 - h / 2, torch.arange(w) + 0.5 - w / 2, indexing="ij")
        rays = F.normalize(torch.stack([u / focal, v / focal, torch.ones_like(u)]), dim=0)
        nearness = F.adaptive_avg_pool2d(1 / self.distance[None].clamp(0.1, 1000.0), SIZE)
        x, y, z = _tilted(rays / nearness, torch.tensor(pitch))  # level axes: x right, y down, z ahead
        forward, right, yaw, tilt = (amounts[:, None, None] * (part == i) for i in range(len(PARTS)))
        x, z, turn = x - right, z - forward, yaw.deg2rad()
        x, z = turn.cos() * x - turn.sin() * z, turn.sin() * x + turn.cos() * z
        x, y, z = _tilted(torch.stack(torch.broadcast_tensors(x, y, z)), -(pitch + tilt.deg2rad()))
        ahead, z = z > 0.2, z.clamp_min(0.2)
        grid = torch.stack([x / z * (2 * focal / w), y / z * (2 * focal / h)], -1)
        return grid, ahead & (grid.abs().amax(-1) < 1)


def _tilted(points: Tensor, angle: Tensor) -> Tensor:
    """Points `[3, ...]` in the axes of a camera, as a camera sees them that looks down from it by `angle` radians."""
    x, y, z = points
    return torch.stack(torch.broadcast_tensors(x, angle.cos() * y - angle.sin() * z, angle.sin() * y + angle.cos() * z))
