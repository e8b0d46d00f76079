"""HY-WorldPlay's control of a chunk: the start picture's latent, and each latent's camera, lens and action class."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from flashdreams.camera.intrinsics import Intrinsics
from flashdreams.camera.rays import relative_to_previous
from flashdreams.integrations.hy_worldplay.actions import action_classes
from flashdreams.recipes.wan import I2VCtrl, I2VCtrlEncoder, I2VCtrlEncoderCache, WanI2VCtrlEncoderConfig
from flashdreams.recipes.wan.camera_pipeline import CameraInput, latent_frames

INTRINSICS, INTRINSICS_SIZE = Intrinsics(969.697, 969.697, 960.0, 540.0), (1920, 1080)
"""The lens that the model was trained with, in pixels of a picture of this width and height."""


@dataclass(kw_only=True)
class HyWorldPlayCtrl(I2VCtrl):
    """Conditioning of a chunk of T latents. The cameras' tensors are fp64 on the CPU."""

    poses: Tensor
    """Camera-to-world `[*batch, T, 4, 4]`."""
    lenses: Tensor
    """`[*batch, T, 2]`: fx over the picture's width, fy over its height."""
    actions: Tensor
    """Action classes `[*batch, T]`."""


@dataclass(kw_only=True)
class HyWorldPlayCtrlEncoderConfig(WanI2VCtrlEncoderConfig):
    """Config of `HyWorldPlayCtrlEncoder`."""

    _target: type = field(default_factory=lambda: HyWorldPlayCtrlEncoder)


@dataclass(kw_only=True)
class HyWorldPlayCtrlCache(I2VCtrlEncoderCache):
    """A rollout's state in the control encoder."""

    last_pose: Tensor | None = None
    """Camera-to-world `[*batch, 4, 4]` of the newest latent; None before the first chunk."""


class HyWorldPlayCtrlEncoder(I2VCtrlEncoder):
    """A `CameraInput` per chunk -> `HyWorldPlayCtrl`. Only the first latent of a rollout is given by the picture."""

    def initialize_autoregressive_cache(self) -> HyWorldPlayCtrlCache:  # type: ignore[override]
        """Return the cache of a new rollout."""
        return HyWorldPlayCtrlCache(video=self.encoder.initialize_autoregressive_cache())

    @torch.no_grad()
    def forward(  # type: ignore[override]
        self, input: CameraInput, autoregressive_index: int = 0, cache: HyWorldPlayCtrlCache | None = None
    ) -> HyWorldPlayCtrl:
        """Return the control of chunk `autoregressive_index`; `cache=None` is a one-shot call."""
        cache = self.initialize_autoregressive_cache() if cache is None else cache
        picture = super().forward(input.frames, autoregressive_index, cache)
        # Nobody reads a latent that is not given: what follows the first chunk need not be encoded.
        cache.settled = picture.latent[..., -1:, :, :, :]
        cache.video.clear()
        frames = latent_frames(autoregressive_index)
        poses, lenses = input.poses[..., frames, :, :], input.intrinsics[..., frames, :2]
        actions = action_classes(relative_to_previous(poses, cache.last_pose))
        cache.last_pose = poses[..., -1, :, :]
        height, width = input.frames.shape[-2:]
        lenses = lenses / lenses.new_tensor([width, height])
        return HyWorldPlayCtrl(latent=picture.latent, mask=picture.mask, poses=poses, lenses=lenses, actions=actions)
