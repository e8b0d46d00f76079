"""The rays of one view, with what the march of them, what they see and the mist before it need of their directions."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from flashdreams.integrations.pocket.land.camera import camera_origin, camera_rays


class Rays(NamedTuple):
    """Rays of a camera, and the fan of vertical planes that holds them."""

    origin: Tensor
    """`[3]` (east, up, north)."""
    direction: Tensor
    """`[3, h, w]`: unit vectors."""
    horizontal: Tensor
    """`[h, w]`: metres on the level for each metre of a ray."""
    relative: Tensor
    """`[h, w]`: azimuths, in radians from that of the middle."""
    middle: Tensor
    low: Tensor
    """The least of `relative`."""
    high: Tensor
    """The largest of `relative`."""

    @classmethod
    def of(cls, origin: Tensor, direction: Tensor) -> Rays:
        """From `origin [3]` along `direction [3, h, w]`."""
        middle = torch.atan2(direction[0].mean(), direction[2].mean())
        relative = torch.remainder(torch.atan2(direction[0], direction[2]) - middle + math.pi, 2 * math.pi) - math.pi
        horizontal = (direction[0] ** 2 + direction[2] ** 2).sqrt().clamp_min(1e-4)
        return cls(origin, direction, horizontal, relative, middle, *relative.aminmax())

    @classmethod
    def of_camera(cls, pose: Tensor, width: int, height: int) -> Rays:
        """Through the pixels of a camera-to-world `pose [4, 4]`."""
        return cls.of(camera_origin(pose), camera_rays(pose, width, height))

    def planes(self, count: int) -> Tensor:
        """Azimuths `[count]` of planes spread evenly over the view."""
        return self.middle + torch.lerp(self.low, self.high, torch.linspace(0, 1, count))

    def share(self) -> Tensor:
        """`[h, w]`: 0 for rays in the first plane, 1 for those in the last."""
        return (self.relative - self.low) / (self.high - self.low).clamp_min(1e-6)
