"""From one place to another without a cut: the last picture of the old place goes on turning and fades out."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from flashdreams.integrations.pocket.model.optics import ground_inverse_depth, pixel_rays, seen_next

FRAMES = 14
"""Frames over which the old image fades."""
_SPOTS = (36, 64)


@dataclass
class CrossFade:
    """The place that is being left."""

    image: Tensor
    """`[1, 3, H, W]`: what of it was on screen last."""
    pose: Tensor
    """`[1, 4, 4]`: its camera."""
    done: int = 0
    """Frames since."""
    newest: Tensor = field(init=False)
    """`[1, 3, H, W]`: what is on screen now."""

    def __post_init__(self) -> None:
        self.newest = self.image

    @property
    def over(self) -> bool:
        """True once nothing of the old scene is left."""
        return self.done >= FRAMES

    def blend(self, frames: Tensor, poses: Tensor) -> Tensor:
        """`frames [1, F, 3, H, W]` of the new place at `poses [1, F, 4, 4]`, with the old one's picture over them.

        It is redrawn for every camera as if nothing stood on its ground, so that it keeps step with the new one.
        """
        count = frames.shape[1]
        rays = pixel_rays(*_SPOTS).to(frames.device)
        inverse_depth = ground_inverse_depth(poses[0], rays).unflatten(-1, _SPOTS)
        old = self.image.expand(count, -1, -1, -1)
        seen, _ = seen_next(old, self.pose.expand(count, -1, -1), poses[0], inverse_depth, pixel_rays().to(old.device))
        share = ((self.done + 1 + torch.arange(count, device=frames.device)) / (FRAMES + 1)).clamp_max(1)
        share = (share * share * (3 - 2 * share)).view(1, -1, 1, 1, 1)
        self.done += count
        blended = torch.lerp(seen[None], frames, share)
        self.newest = blended[:, -1]
        return blended
