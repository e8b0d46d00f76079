"""The encoder: a picture's control and a camera's, for one chunk."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from flashdreams.infra.encoder import EncoderConfig, StreamingEncoderCache, StreamingVideoEncoder
from flashdreams.recipes.wan.autoencoder.i2v import I2VCtrl, I2VCtrlEncoderCache, WanI2VCtrlEncoderConfig

ANGLES = 2
"""Channels of the camera at each position of a latent."""


@dataclass(kw_only=True)
class OrbitInput:
    """Input of a chunk: the picture's frames, and an angle per frame `[*batch, T, 2]`."""

    frames: Tensor | None = None
    angles: Tensor


@dataclass(kw_only=True)
class OrbitCtrl:
    """Input of the transformer: the picture's control, and the camera's planes `[*batch, T, 2, h, w]`."""

    picture: I2VCtrl
    camera: Tensor
    _is_patchified: bool = False


@dataclass(kw_only=True)
class OrbitEncoderConfig(EncoderConfig):
    """Config of `OrbitEncoder`."""

    _target: type[OrbitEncoder] = field(default_factory=lambda: OrbitEncoder)

    picture: WanI2VCtrlEncoderConfig = field(default_factory=WanI2VCtrlEncoderConfig)


@dataclass(kw_only=True)
class OrbitEncoderCache(StreamingEncoderCache):
    """State of a rollout."""

    picture: I2VCtrlEncoderCache
    last: Tensor | None = None


class OrbitEncoder(StreamingVideoEncoder[OrbitEncoderCache]):
    """Angles count from the last one of the chunk before."""

    def __init__(self, config: OrbitEncoderConfig) -> None:
        super().__init__(config)
        self.picture = config.picture.setup()

    def initialize_autoregressive_cache(self) -> OrbitEncoderCache:
        return OrbitEncoderCache(picture=self.picture.initialize_autoregressive_cache())

    @property
    def temporal_compression_ratio(self) -> int:
        return self.picture.temporal_compression_ratio

    @property
    def spatial_compression_ratio(self) -> int:
        return self.picture.spatial_compression_ratio

    def get_output_temporal_size(self, autoregressive_index: int, input_temporal_size: int) -> int:
        return self.picture.get_output_temporal_size(autoregressive_index, input_temporal_size)

    def get_input_temporal_size(self, autoregressive_index: int, output_temporal_size: int) -> int:
        return self.picture.get_input_temporal_size(autoregressive_index, output_temporal_size)

    @torch.no_grad()
    def forward(
        self, input: OrbitInput, autoregressive_index: int = 0, cache: OrbitEncoderCache | None = None
    ) -> OrbitCtrl:
        assert cache is not None and input.frames is not None
        control = self.picture(input=input.frames, autoregressive_index=autoregressive_index, cache=cache.picture)
        ratio, frames = self.temporal_compression_ratio, input.angles.shape[-2]
        picked = [0, *range(ratio, frames, ratio)] if autoregressive_index == 0 else [*range(ratio - 1, frames, ratio)]
        angles = input.angles[..., picked, :]
        moved = angles if cache.last is None else angles - cache.last
        cache.last = angles[..., -1:, :]
        rows, columns = control.latent.shape[-2:]
        return OrbitCtrl(picture=control, camera=moved[..., None, None].expand(*moved.shape, rows, columns))
