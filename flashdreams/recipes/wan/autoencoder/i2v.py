"""The control signal of image-to-video models: the latent of the first picture, and where it holds."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from flashdreams.infra.encoder import EncoderConfig, StreamingEncoder, StreamingEncoderCache
from flashdreams.infra.temporal import check_follows
from flashdreams.recipes.wan.autoencoder.network import SETTLED_FROM
from flashdreams.recipes.wan.autoencoder.vae import WanVAECache, WanVAEEncoder, WanVAEEncoderConfig


@dataclass(kw_only=True)
class I2VCtrl:
    """What a chunk of an image-to-video rollout is conditioned on, as latents or, once patchified, as tokens."""

    latent: Tensor
    """Normalised latents `[*batch, T, C, h, w]` of the picture, those of grey frames where there is none."""
    mask: Tensor
    """`[*batch, T, 1, h, w]`, or 4 channels for the frames of each latent: 1 where the latent is given, else 0."""


@dataclass(kw_only=True)
class WanI2VCtrlEncoderConfig(EncoderConfig):
    """Config of `I2VCtrlEncoder`."""

    _target: type = field(default_factory=lambda: I2VCtrlEncoder)

    encoder: WanVAEEncoderConfig
    """The video encoder that the model was trained with."""


@dataclass(kw_only=True)
class I2VCtrlCache(StreamingEncoderCache):
    """A rollout's state in the control encoder."""

    latent_frames: int
    """Latents per chunk."""
    video: WanVAECache
    """State of the video encoder."""
    encoded: int = 0
    """Latents so far."""
    settled: Tensor | None = None
    """The latent `[*batch, 1, C, h, w]` that all further ones equal, once nothing is left of the picture."""


class I2VCtrlEncoder(StreamingEncoder[I2VCtrlCache]):
    """A picture to the control of every chunk: the latents of a video that shows it once and is grey from then on.

    That is the video that the image-to-video models are trained with. After `SETTLED_FROM` latents its encoding does
    not change any more, and costs nothing.
    """

    def __init__(self, config: WanI2VCtrlEncoderConfig) -> None:
        """Raises what the video encoder's config raises when it is set up."""
        super().__init__(config)
        self.encoder: WanVAEEncoder = config.encoder.setup()

    def initialize_autoregressive_cache(self, *, latent_frames: int = 1) -> I2VCtrlCache:  # type: ignore[override]
        """The cache of a new rollout with `latent_frames` latents per chunk; ValueError for fewer than one."""
        if latent_frames < 1:
            raise ValueError(f"latent_frames must be at least 1, got {latent_frames}")
        return I2VCtrlCache(latent_frames=latent_frames, video=self.encoder.initialize_autoregressive_cache())

    @torch.no_grad()
    def forward(self, input: Tensor, autoregressive_index: int = 0, cache: I2VCtrlCache | None = None) -> I2VCtrl:
        """The control of chunk `autoregressive_index`; `cache=None` is a single chunk of one latent.

        `input` is the picture `[*batch, 1, 3, H, W]` in [-1, 1], the same at every chunk; from the second on only its
        size is used. Raises ValueError for anything but one picture of sides that the compression divides, for another
        size than the rollout's, and for any index but the cache's next one.
        """
        cache = self.initialize_autoregressive_cache() if cache is None else cache
        if input.dim() < 4 or tuple(input.shape[-4:-2]) != (1, 3) or not input.is_floating_point():
            raise ValueError(f"the picture must be floats [..., 1, 3, H, W], got {input.dtype} {[*input.shape]}")
        if cache.settled is None:
            latent = self._encode(input, autoregressive_index, cache)
        else:
            latent = self._settled(input, autoregressive_index, cache, cache.settled)
        mask = torch.zeros_like(latent[..., :1, :, :])
        if autoregressive_index == 0:
            mask[..., :1, :, :, :] = 1
        return I2VCtrl(latent=latent, mask=mask)

    def _encode(self, picture: Tensor, index: int, cache: I2VCtrlCache) -> Tensor:
        frames = self.encoder.get_input_temporal_size(index, cache.latent_frames)
        shown = [picture] if index == 0 else []
        if frames > len(shown):
            *batch, _, channels, height, width = picture.shape
            shown.append(picture.new_zeros(1).expand(*batch, frames - len(shown), channels, height, width))
        latent = self.encoder(torch.cat(shown, -4), index, cache.video)
        cache.encoded += cache.latent_frames
        if cache.encoded > SETTLED_FROM:
            cache.settled = latent[..., -1:, :, :, :].clone()
            cache.video.memory = None
        return latent

    def _settled(self, picture: Tensor, index: int, cache: I2VCtrlCache, latent: Tensor) -> Tensor:
        check_follows(index, cache.video.autoregressive_index)
        ratio = self.encoder.spatial_compression_ratio
        *batch, _, _, height, width = latent.shape
        shape = [*batch, 1, 3, height * ratio, width * ratio]
        if [*picture.shape] != shape:
            raise ValueError(f"this rollout's picture is {shape}, got {[*picture.shape]}")
        cache.video.autoregressive_index = index
        return latent.expand(*batch, cache.latent_frames, *latent.shape[-3:])
