"""Registration of camera motion between two images, without knowledge of the commanded motion.

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
from flashdreams.integrations.pocket.model.optics import FOCAL, HEIGHT, WIDTH, pixel_rays, sample

Floats = npt.NDArray[np.float64]

PARTS = ("forward", "right", "yaw", "pitch")
"""Kinds of motion: metres ahead and to the right, degrees to the right and upwards."""
SIZE = (36, 64)
"""Height and width of the pictures that are compared: small, so that a blurred dream can be compared as well."""
CHOICES = 53
"""Number of amounts that are tried, from minus to plus the largest; odd, so that 0 is one of them."""
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

    image: Tensor
    """`[3, H, W]` in [0, 1]"""
    pose: Floats
    """`[4, 4]`"""
    distance: Tensor
    """`[H, W]` in metres."""

    @torch.no_grad()
    def moved(self, after: Tensor, part: str, largest: float) -> float:
        """Return the motion of the camera up to image `after [3, H, W]`, assuming motion of kind `part` alone.

        In metres or degrees, at most `largest` either way.
        """
        half = CHOICES // 2
        amounts = torch.arange(-half, half + 1) * (largest / half)
        motions = torch.zeros(CHOICES, len(PARTS))
        motions[:, PARTS.index(part)] = amounts
        pair = Pair(self.image, after, self.distance, yaw_pitch_of(self.pose)[1], SIZE)
        return float(amounts[pair.misfit(motions, torch.tensor(largest)).argmin()])


class Pair:
    """Two pictures, and what is known of the first."""

    def __init__(self, before: Tensor, after: Tensor, distance: Tensor, pitch_deg: float, size: tuple[int, int]):
        """Pictures `[3, H, W]` in [0, 1], compared at `size`; `distance [H, W]` in metres, pitch of the first one."""
        self.pitch = math.radians(pitch_deg)
        self.first, self.second = (F.adaptive_avg_pool2d(image, size) for image in (before, after))
        self.contrast = self.first.std().clamp_min(0.02)
        rays = F.normalize(pixel_rays(*size).unflatten(1, size), dim=0)
        nearness = F.adaptive_avg_pool2d(1 / distance[None].clamp(0.1, 1000.0), size)
        points = _tilted(rays / nearness, torch.tensor(self.pitch))  # level axes: x right, y down, z ahead
        self._points = torch.cat([points, torch.ones(1, *size)]).flatten(1)
        """`[4, h * w]`, homogeneous."""

    def misfit(self, motions: Tensor, largest: Tensor) -> Tensor:
        """Return the error `[N]` with which each of `motions [N, 4]` by `PARTS` explains the second image."""
        error, inside = self.error(motions)
        size = (error.abs().mean(1) / self.contrast).clamp_max(_CUT)
        misfit = (size * inside).sum((1, 2)) / inside.sum((1, 2)).clamp_min(1)
        # Where nothing tells motions apart, as before an even sky, the smallest is the answer.
        return misfit + 1e-4 * (motions.abs() / largest).sum(1)

    def error(self, motions: Tensor) -> tuple[Tensor, Tensor]:
        """The second picture less the first `[N, 3, h, w]` after each of `motions [N, 4]`, and what is in view."""
        projected = self._cameras(motions) @ self._points
        seen = projected.unflatten(1, self.first.shape[1:]).unflatten(0, (-1, 3))
        depth = seen[:, 2]
        grid = seen[:, :2] / depth.clamp_min(0.2)[:, None]
        inside = (depth > 0.2) & (grid[:, 0].abs() < 1) & (grid[:, 1].abs() < 1)
        return sample(self.second.expand(len(motions), -1, -1, -1), grid.permute(0, 2, 3, 1)) - self.first, inside

    def _cameras(self, motions: Tensor) -> Tensor:
        """Return the projections `[N * 3, 4]` of level points after `motions`: grid times depth, and depth."""
        forward, right, yaw, tilt = motions.unbind(1)
        turn, angle = yaw.deg2rad(), -(self.pitch + tilt.deg2rad())
        half = turn / 2  # the step is along the heading half-way through the turn
        step = torch.stack(
            [
                forward * half.sin() + right * half.cos(),
                torch.zeros_like(turn),
                forward * half.cos() - right * half.sin(),
            ],
            1,
        )
        x = torch.stack([turn.cos(), torch.zeros_like(turn), -turn.sin()], 1)
        ahead = torch.stack([turn.sin(), torch.zeros_like(turn), turn.cos()], 1)
        down = torch.tensor([0.0, 1.0, 0.0])
        y, z = _turned(down, ahead, angle[:, None])
        axes = torch.stack([x * (2 * FOCAL / WIDTH), y * (2 * FOCAL / HEIGHT), z], 1)
        return torch.cat([axes, -(axes @ step[..., None])], 2).flatten(0, 1)


def _tilted(points: Tensor, angle: Tensor) -> Tensor:
    """Points `[3, ...]` in the axes of a camera, as a camera sees them that looks down from it by `angle` radians."""
    x, y, z = points
    return torch.stack(torch.broadcast_tensors(x, *_turned(y, z, angle)))


def _turned(y: Tensor, z: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Return `y` and `z` in axes that are turned about x by `angle` radians."""
    return angle.cos() * y - angle.sin() * z, angle.sin() * y + angle.cos() * z
