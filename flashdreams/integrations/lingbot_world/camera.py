"""LingBot-World's control of a chunk: the start picture's latents, and rays of the camera at latent resolution."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from flashdreams.camera.intrinsics import Intrinsics
from flashdreams.camera.rays import ray_conditioning, relative_to_previous, space_to_depth
from flashdreams.integrations.lingbot_world.network import RAY_BLOCK
from flashdreams.recipes.wan import I2VCtrl, I2VCtrlEncoder, I2VCtrlEncoderCache, WanI2VCtrlEncoderConfig
from flashdreams.recipes.wan.camera_pipeline import CameraInput, latent_frames

WORLD_SCALE = 1.271182656288147
"""Length of the world's unit in live play, in the units of the poses."""
INTRINSICS, INTRINSICS_SIZE = Intrinsics(502.91, 503.11, 415.78, 239.78), (832, 480)
"""The lens of live play, in pixels of a picture of this width and height."""


@dataclass(kw_only=True)
class LingBotCtrl(I2VCtrl):
    """Conditioning of one chunk, as latents or, once patchified, as tokens."""

    camera: Tensor
    """Rays `[*batch, T, 384, h, w]`: of each pixel in an 8 x 8 block its origin and its direction."""


@dataclass(kw_only=True)
class LingBotCtrlEncoderConfig(WanI2VCtrlEncoderConfig):
    """Config of `LingBotCtrlEncoder`."""

    _target: type = field(default_factory=lambda: LingBotCtrlEncoder)

    world_scale: float = WORLD_SCALE
    """Moves of the camera are divided by it; the model was trained on moves of at most 1 between two latents."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.world_scale) and self.world_scale > 0):
            raise ValueError(f"world_scale must be a finite number above 0, got {self.world_scale}")


@dataclass(kw_only=True)
class LingBotCtrlCache(I2VCtrlEncoderCache):
    """A rollout's state in the control encoder."""

    last_pose: Tensor | None = None
    """Camera-to-world `[*batch, 4, 4]` of the newest latent; None before the first chunk."""


class LingBotCtrlEncoder(I2VCtrlEncoder):
    """A `CameraInput` per chunk -> `LingBotCtrl`. Each latent sees its camera from the latent before it."""

    config: LingBotCtrlEncoderConfig

    def initialize_autoregressive_cache(self) -> LingBotCtrlCache:  # type: ignore[override]
        """Return the cache of a new rollout."""
        return LingBotCtrlCache(video=self.encoder.initialize_autoregressive_cache())

    @torch.no_grad()
    def forward(  # type: ignore[override]
        self, input: CameraInput, autoregressive_index: int = 0, cache: LingBotCtrlCache | None = None
    ) -> LingBotCtrl:
        """Return the control of chunk `autoregressive_index`; `cache=None` is a one-shot call."""
        cache = self.initialize_autoregressive_cache() if cache is None else cache
        picture = super().forward(input.frames, autoregressive_index, cache)
        frames = latent_frames(autoregressive_index)
        poses, lens = input.poses[..., frames, :, :], input.intrinsics[..., frames, :]
        relative = relative_to_previous(poses, cache.last_pose).to(input.frames)
        cache.last_pose = poses[..., -1, :, :]
        rays = ray_conditioning(relative, lens.to(relative), self.config.world_scale, *input.frames.shape[-2:])
        return LingBotCtrl(latent=picture.latent, mask=picture.mask, camera=space_to_depth(rays, RAY_BLOCK))
