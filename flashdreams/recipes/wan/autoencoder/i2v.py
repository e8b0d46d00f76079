"""The control of image-to-video models: the latents of a video that begins with a picture, and where they hold."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from flashdreams.infra.encoder import EncoderConfig, StreamingEncoderCache, StreamingVideoEncoder
from flashdreams.infra.temporal import check_follows
from flashdreams.recipes.wan.autoencoder.network import SETTLED_FROM
from flashdreams.recipes.wan.autoencoder.vae import WanVAECache, WanVAEEncoder, WanVAEEncoderConfig


@dataclass(kw_only=True)
class I2VCtrl:
    """Conditioning of one chunk of an image-to-video rollout, as latents or, once patchified, as tokens."""

    latent: Tensor
    """Normalised latents `[*batch, T, C, h, w]` of the picture, those of grey frames where there is none."""
    mask: Tensor
    """`[*batch, T, 1, h, w]`, or 4 channels for the frames of each latent: 1 where the latent is given, else 0."""
    _is_patchified: bool = False
    """True of tokens."""


@dataclass(kw_only=True)
class WanI2VCtrlEncoderConfig(EncoderConfig):
    """Config of `I2VCtrlEncoder`."""

    _target: type[I2VCtrlEncoder] = field(default_factory=lambda: I2VCtrlEncoder)

    encoder: WanVAEEncoderConfig = field(default_factory=WanVAEEncoderConfig)
    """The video encoder that the model was trained with."""


@dataclass(kw_only=True)
class I2VCtrlEncoderCache(StreamingEncoderCache):
    """A rollout's state in the control encoder."""

    video: WanVAECache
    """State of the video encoder."""
    blank: int = 0
    """Latents of nothing but blank frames since the last other frame."""
    settled: Tensor | None = None
    """The latent `[*batch, 1, C, h, w]` that all further blank ones equal, once nothing is left of the picture."""


def blank_frames(like: Tensor, frames: int) -> Tensor:
    """Return `frames` grey frames of the shape and device of `like [..., T, C, H, W]`, which take no memory.

    They are marked as blank: after `SETTLED_FROM` latents of them the encoder need not look at more.
    """
    *batch, _, channels, height, width = like.shape
    blank = like.new_zeros(()).expand(*batch, frames, channels, height, width)
    blank.is_blank = True  # type: ignore[attr-defined]
    return blank


class I2VCtrlEncoder(StreamingVideoEncoder[I2VCtrlEncoderCache]):
    """Chunks of a video that shows a picture once and is grey from then on, to the control of each chunk.

    The image-to-video models are trained with the latents of such a video. After `SETTLED_FROM` latents of
    `blank_frames` they do not change any more, and cost nothing.
    """

    encoder: WanVAEEncoder

    def __init__(self, config: WanI2VCtrlEncoderConfig) -> None:
        """Raises what the video encoder's config raises when it is set up."""
        super().__init__(config)
        self.encoder = config.encoder.setup()

    @property
    def spatial_compression_ratio(self) -> int:
        return self.encoder.spatial_compression_ratio

    @property
    def temporal_compression_ratio(self) -> int:
        return self.encoder.temporal_compression_ratio

    def get_output_temporal_size(self, autoregressive_index: int, input_temporal_size: int) -> int:
        return self.encoder.get_output_temporal_size(autoregressive_index, input_temporal_size)

    def get_input_temporal_size(self, autoregressive_index: int, output_temporal_size: int) -> int:
        return self.encoder.get_input_temporal_size(autoregressive_index, output_temporal_size)

    def initialize_autoregressive_cache(self) -> I2VCtrlEncoderCache:  # type: ignore[override]
        """Return the cache of a new rollout."""
        return I2VCtrlEncoderCache(video=self.encoder.initialize_autoregressive_cache())

    @torch.no_grad()
    def forward(
        self, input: Tensor, autoregressive_index: int = 0, cache: I2VCtrlEncoderCache | None = None
    ) -> I2VCtrl:
        """Return the control of chunk `autoregressive_index`; `cache=None` is a one-shot call.

        `input [*batch, T, 3, H, W]` in [-1, 1] are the chunk's frames: the picture and grey frames in the first, grey
        ones (`blank_frames`) in all others. Raises ValueError for a number of frames that is not whole latents, for
        sides that the compression does not divide, for another size than the rollout's, and for any index but the
        cache's next one.
        """
        cache = self.initialize_autoregressive_cache() if cache is None else cache
        if input.dim() < 4 or input.shape[-3] != 3 or not input.is_floating_point():
            raise ValueError(f"input must be floats [..., T, 3, H, W], got {input.dtype} {[*input.shape]}")
        if cache.settled is None:
            latent = self._encode(input, autoregressive_index, cache)
        else:
            latent = self._settled(input, autoregressive_index, cache, cache.settled)
        mask = torch.zeros_like(latent[..., :1, :, :])
        if autoregressive_index == 0:
            mask[..., :1, :, :, :] = 1
        return I2VCtrl(latent=latent, mask=mask)

    def _encode(self, frames: Tensor, index: int, cache: I2VCtrlEncoderCache) -> Tensor:
        latent = self.encoder(frames, index, cache.video)
        cache.blank = cache.blank + latent.shape[-4] if _is_blank(frames) else 0
        if cache.blank > SETTLED_FROM:
            cache.settled = latent[..., -1:, :, :, :].clone()
            cache.video.clear()
        return latent

    def _settled(self, frames: Tensor, index: int, cache: I2VCtrlEncoderCache, latent: Tensor) -> Tensor:
        check_follows(index, cache.video.autoregressive_index)
        ratio = self.encoder.spatial_compression_ratio
        *batch, _, _, height, width = latent.shape
        shape = [*batch, frames.shape[-4], 3, height * ratio, width * ratio]
        if [*frames.shape] != shape:
            raise ValueError(f"this rollout's frames are {shape}, got {[*frames.shape]}")
        if not _is_blank(frames):
            raise ValueError("input must be blank_frames here: the rollout's video has been grey for too long")
        cache.video.autoregressive_index = index
        return latent.expand(*batch, self.get_output_temporal_size(index, frames.shape[-4]), *latent.shape[-3:])


def _is_blank(frames: Tensor) -> bool:
    return bool(getattr(frames, "is_blank", False))
