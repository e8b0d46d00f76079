"""Overlap of two cameras' views, counted on points: it decides which part of the past is looked at again."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from flashdreams.infra.config.base import PrintableConfig


@dataclass(kw_only=True)
class ViewConeConfig(PrintableConfig):
    """Limits of a camera's view."""

    fov_h_deg: float = 60.0
    """Horizontal field of view, in degrees."""
    fov_v_deg: float = 35.0
    """Vertical field of view, in degrees."""
    reach: float = 8.0
    """Distance that a camera sees, in units of the world."""
    points: int = 50_000
    """Points spread over the ball within reach, on which overlaps are counted."""

    def __post_init__(self) -> None:
        if not (0 < self.fov_h_deg < 360 and 0 < self.fov_v_deg < 180 and self.reach > 0 and self.points > 0):
            raise ValueError(f"a view cone's angles, reach and points must be above 0, got {self!r}")


class ViewCone:
    """Measures overlaps of views, always on the same points. Holds no state of a rollout."""

    def __init__(self, config: ViewConeConfig) -> None:
        self.config = config
        like = torch.empty(0, dtype=torch.float64, device="cpu")
        rng = torch.Generator("cpu").manual_seed(0)
        points = like.new_empty(config.points, 3).normal_(generator=rng)
        radii = config.reach * like.new_empty(config.points, 1).uniform_(generator=rng) ** (1 / 3)
        points = points / points.norm(dim=-1, keepdim=True) * radii
        self.points = points[self.sees(torch.eye(4, dtype=torch.float64, device="cpu"), points)]
        """Points that a camera at the origin sees, fp64 `[N, 3]`."""

    def sees(self, poses: Tensor, points: Tensor) -> Tensor:
        """Return whether cameras at camera-to-world `poses [..., 4, 4]` see `points [N, 3]`: booleans `[..., N]`.

        The angles of a point are measured in the axes that the poses are given in, and a camera's roll is left out.
        """
        rays = points - poses[..., None, :3, 3]
        yaw, pitch = _angles(poses[..., :3, 2])
        of_rays = _angles(rays)
        beside = _wrapped(of_rays[0] - yaw[..., None]).abs() < self.config.fov_h_deg / 2
        above = _wrapped(of_rays[1] - pitch[..., None]).abs() < self.config.fov_v_deg / 2
        return beside & above & (rays.norm(dim=-1) < self.config.reach)

    def overlap(self, now: Tensor, then: Tensor) -> Tensor:
        """Return the share `[Q, C]` of what each camera of `now [Q, 4, 4]` sees that each of `then [C, 4, 4]` saw."""
        if not len(self.points):
            return self.points.new_zeros(len(now), len(then))
        return torch.stack([self.sees(torch.linalg.inv(pose) @ then, self.points).double().mean(-1) for pose in now])

    def nearest(self, now: Tensor, blocks: Tensor, count: int) -> list[int]:
        """The `count` of `blocks [C, T, 4, 4]` that saw most of what `now [Q, 4, 4]` will see, in the blocks' order.

        A block is judged by its first camera and the one in its middle, over all of `now`; of equals the older wins.
        """
        middle = blocks.shape[1] // 2
        shares = self.overlap(now, blocks[:, [0, middle]].flatten(0, 1)).unflatten(1, (-1, 2)).mean(dim=(0, 2))
        return sorted(torch.argsort(shares, descending=True, stable=True)[:count].tolist())


def _angles(directions: Tensor) -> tuple[Tensor, Tensor]:
    """Degrees about the vertical and against the horizon of `directions [..., 3]`."""
    x, y, z = directions.unbind(-1)
    return torch.atan2(x, z) * (180 / math.pi), torch.atan2(y, torch.hypot(x, z)) * (180 / math.pi)


def _wrapped(degrees: Tensor) -> Tensor:
    return torch.remainder(degrees + 180, 360) - 180
