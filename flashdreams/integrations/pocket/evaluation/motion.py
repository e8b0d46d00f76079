"""How a camera moved between two pictures, found by registration: what was commanded plays no part in it.

The renderer knows how far away everything is that the first camera saw. Moving its pixels by a supposed turn and step
says what the second picture should look like; the motion that explains the second picture best is the estimate. The
search begins at turns on the spot and is refined from coarse to fine by weighted least squares.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.integrations.pocket.renderer import FOV_DEGREES


PARTS = ("yaw", "pitch", "forward", "strafe")
"""Columns of a motion: degrees to the right, degrees upwards, metres ahead, metres to the right."""
SIZES = ((18, 32), (36, 64))
"""Height and width of the pictures that are compared, coarse to fine."""
_STEPS = (14, 12)
"""Least-squares steps at each size."""
_LOOSE = (1.0, 0.4)
"""At each size, pixels weigh less from this many typical errors on: strict at the end, when most should fit."""
_STARTS = 5
"""Turns from which the search starts; the one that ends best is taken."""
_TURN_CHOICES, _MOST_TURN = 29, 42.0
"""How many turns are tried for them, and the largest, in degrees either way."""
_CUT = 0.05
"""A pixel's error counts for no more than this when starts are compared."""
_PROBE = (0.4, 0.4, 0.04, 0.04)
"""Degrees and metres: how far the search looks to see how the picture changes."""
_STIFFNESS = 1e-7
"""Keeps what a picture does not show (a step before an empty sky) from running away."""
_BATCH = 32


def commanded_motion(before: npt.NDArray[np.float64], after: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Motions `[N, 4]` (see `PARTS`) from camera-to-world poses `[N, 4, 4]` to others; steps along the middle heading."""
    yaw_a, yaw_b = (np.arctan2(p[:, 0, 2], p[:, 2, 2]) for p in (before, after))
    pitch_a, pitch_b = (np.arcsin(np.clip(-p[:, 1, 2], -1, 1)) for p in (before, after))
    turn = (yaw_b - yaw_a + np.pi) % (2 * np.pi) - np.pi
    middle, step = yaw_a + turn / 2, after[:, :3, 3] - before[:, :3, 3]
    forward = step[:, 0] * np.sin(middle) + step[:, 2] * np.cos(middle)
    strafe = step[:, 0] * np.cos(middle) - step[:, 2] * np.sin(middle)
    return np.stack([np.degrees(turn), np.degrees(pitch_b - pitch_a), forward, strafe], -1)


@torch.no_grad()
def estimate_motion(before: Tensor, after: Tensor, poses: npt.NDArray[np.float64], distance: Tensor) -> npt.NDArray[np.float64]:
    """Motions `[N, 4]` (see `PARTS`) between pictures `[N, 3, H, W]` in [0, 1].

    `poses [N, 4, 4]` are the first pictures' cameras (only their pitch is used) and `distance [N, h, w]` how far away
    in metres everything is that they see, at the finest of `SIZES`.
    """
    if tuple(distance.shape[-2:]) != SIZES[-1]:
        raise ValueError(f"distance must have the size {SIZES[-1]}, got {tuple(distance.shape[-2:])}")
    pitch = torch.from_numpy(np.arcsin(np.clip(-poses[:, 1, 2], -1, 1))).float().to(before.device)
    parts = [
        _Pairs(before[i : i + _BATCH], after[i : i + _BATCH], pitch[i : i + _BATCH], distance[i : i + _BATCH]).estimate()
        for i in range(0, len(before), _BATCH)
    ]
    return torch.cat(parts).double().cpu().numpy()


class _Pairs:
    """Some pairs of pictures, being registered."""

    def __init__(self, before: Tensor, after: Tensor, pitch: Tensor, distance: Tensor) -> None:
        self.before, self.after, self.pitch = before, after, pitch
        self.nearness = 1 / distance.clamp(0.1, 1000.0).unsqueeze(1)

    def estimate(self) -> Tensor:
        """Motions `[N, 4]`."""
        self._look_at(SIZES[0])
        starts = self._likely_turns()
        for _ in range(_STEPS[0]):
            starts = torch.stack([self._improved(start, _LOOSE[0]) for start in starts])
        best = torch.stack([self._misfit(start) for start in starts]).argmin(0)
        motion = starts[best, torch.arange(len(best), device=best.device)]
        for size, steps, loose in zip(SIZES[1:], _STEPS[1:], _LOOSE[1:], strict=True):
            self._look_at(size)
            for _ in range(steps):
                motion = self._improved(motion, loose)
        return motion

    def _look_at(self, size: tuple[int, int]) -> None:
        h, w = size
        self.focal = 0.5 * w / math.tan(math.radians(FOV_DEGREES) / 2)
        v, u = torch.meshgrid(torch.arange(h) + 0.5 - h / 2, torch.arange(w) + 0.5 - w / 2, indexing="ij")
        rays = torch.stack([u / self.focal, v / self.focal, torch.ones_like(u)]).flatten(1).to(self.before.device)
        nearness = F.adaptive_avg_pool2d(self.nearness, size).flatten(2)
        x, y, z = (rays / rays.norm(dim=0) / nearness).unbind(1)
        c, s = self.pitch.cos()[:, None], self.pitch.sin()[:, None]
        self.points = torch.stack([x, c * y - s * z, s * y + c * z], 1)  # level axes: x right, y down, z ahead
        self.first, self.second = (F.adaptive_avg_pool2d(p, size) for p in (self.before, self.after))
        self.half = (w / 2, h / 2)

    def _seen(self, motion: Tensor) -> tuple[Tensor, Tensor]:
        """Where the second picture should show the first one's pixels: its colours `[N, 3, P]` there, and if it does."""
        yaw, up = motion[:, 0].deg2rad()[:, None], self.pitch[:, None] + motion[:, 1].deg2rad()[:, None]
        forward, strafe = motion[:, 2, None], motion[:, 3, None]
        half_s, half_c = (yaw / 2).sin(), (yaw / 2).cos()
        x, y, z = self.points.unbind(1)
        x, z = x - strafe * half_c - forward * half_s, z + strafe * half_s - forward * half_c
        x, z = yaw.cos() * x - yaw.sin() * z, yaw.sin() * x + yaw.cos() * z
        y, z = up.cos() * y + up.sin() * z, up.cos() * z - up.sin() * y
        ahead = z > 0.2
        z = z.clamp_min(0.2)
        grid = torch.stack([x / z * (self.focal / self.half[0]), y / z * (self.focal / self.half[1])], -1)
        inside = ahead & (grid.abs().amax(-1) < 1)
        colours = F.grid_sample(self.second, grid.unsqueeze(1), padding_mode="border", align_corners=False)[:, :, 0]
        return colours, inside

    def _residual(self, motion: Tensor) -> tuple[Tensor, Tensor]:
        colours, inside = self._seen(motion)
        return colours - self.first.flatten(2), inside

    def _misfit(self, motion: Tensor) -> Tensor:
        """How badly motions explain the second pictures: mean error `[N]` of what both see, large errors cut off."""
        residual, inside = self._residual(motion)
        error = residual.abs().mean(1).clamp_max(_CUT)
        return (error * inside).sum(1) / inside.sum(1).clamp_min(1) + 0.02 * (inside.float().mean(1) < 0.3)

    def _likely_turns(self) -> Tensor:
        """The turns without a step that explain the second picture best, as motions `[_STARTS, N, 4]`."""
        choices = torch.zeros(_TURN_CHOICES, 4, device=self.pitch.device)
        choices[:, 0] = torch.linspace(-_MOST_TURN, _MOST_TURN, _TURN_CHOICES)
        misfit = torch.stack([self._misfit(choice.expand(len(self.pitch), -1)) for choice in choices])
        return choices[misfit.topk(_STARTS, 0, largest=False).indices]

    def _improved(self, motion: Tensor, loose: float) -> Tensor:
        """One step of least squares; pixels that do not fit (hidden, new, misdrawn) weigh little."""
        residual, inside = self._residual(motion)
        size = residual.norm(dim=1)
        typical = ((size.square() * inside).sum(1, keepdim=True) / inside.sum(1, keepdim=True).clamp_min(1)).sqrt()
        weight = inside / (1 + (size / (loose * typical.clamp_min(0.004))) ** 2)
        slopes = []
        for part, probe in enumerate(_PROBE):
            moved = motion.clone()
            moved[:, part] += probe
            slopes.append(self._residual(moved)[0] - residual)  # in units of the probe, so that all are alike in size
        slope = torch.stack(slopes, -1) * weight.sqrt()[:, None, :, None]
        slope, target = slope.flatten(1, 2), (residual * weight.sqrt().unsqueeze(1)).flatten(1)
        normal = slope.transpose(1, 2) @ slope + _STIFFNESS * slope.shape[1] * torch.eye(4, device=slope.device)
        step = torch.linalg.solve(normal, slope.transpose(1, 2) @ target.unsqueeze(-1)).squeeze(-1)
        return motion - step.clamp(-8, 8) * motion.new_tensor(_PROBE)
