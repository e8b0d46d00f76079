"""The tiny autoencoders' encoder: video to latents, four frames to each, the counterpart of `TeahvVAEDecoder`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flashdreams.core.checkpoint.load import load_into, open_checkpoint
from flashdreams.core.convolution import Conv2d
from flashdreams.infra.encoder import EncoderConfig, StreamingEncoderCache, StreamingVideoEncoder
from flashdreams.infra.temporal import check_follows
from flashdreams.recipes.taehv.checkpoint import BLOCKS_PER_STAGE
from flashdreams.recipes.taehv.impl import SPACE_RATIO, TIME_RATIO, MemBlock, State

TIME_STRIDES = (2, 2, 1)
"""Frames that each stage joins."""


class TimePool(nn.Module):
    """Joins `stride` neighbouring frames, the older first."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = Conv2d(channels * stride, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`[N * stride, C, H, W] -> [N, C, H, W]`."""
        return self.conv(x.unflatten(0, (-1, self.stride)).flatten(1, 2))


class TinyEncoder(nn.Sequential):
    """Pixels to latents, given the state that the frames before left; layer `i` is `encoder.<i>` of the files."""

    def __init__(self, latent_channels: int, width: int, patch_size: int) -> None:
        layers: list[nn.Module] = [Conv2d(3 * patch_size**2, width, 3, padding=1), nn.ReLU(inplace=True)]
        for stride in TIME_STRIDES:
            layers += [TimePool(width, stride), Conv2d(width, width, 3, 2, padding=1, bias=False)]
            layers += [MemBlock(width, width, nn.ReLU(inplace=True)) for _ in range(BLOCKS_PER_STAGE)]
        layers.append(Conv2d(width, latent_channels, 3, padding=1))
        super().__init__(*layers)
        self.patch_size = patch_size
        for place, block in enumerate(layer for layer in self if isinstance(layer, MemBlock)):
            block.place = place

    def forward(self, pixels: Tensor, state: State, batch: int) -> Tensor:  # type: ignore[override]
        """Pixels `[B T, 3, H, W]` of `batch` videos, in [0, 1] -> latents `[B T / 4, C, h, w]`; `state` goes on."""
        x = F.pixel_unshuffle(pixels, self.patch_size)
        for layer in self:
            x = layer.cache_step(x, state, batch) if isinstance(layer, MemBlock) else layer(x)
        return x


@dataclass(kw_only=True)
class TAEHVEncoderConfig(EncoderConfig):
    """Config of `TAEHVEncoder`."""

    _target: type = field(default_factory=lambda: TAEHVEncoder)

    checkpoint_path: str | Path | None
    """Weights, as `load_checkpoint` takes them, of which only the encoder's are read; None leaves them random."""
    dtype: torch.dtype = torch.bfloat16
    """Type of the weights and of the latents."""
    latent_channels: int = 16
    """Channels of the latents."""
    width: int = 64
    """Channels of all stages."""
    patch_size: int = 1
    """Pixels along a side of an input position; 2 for latents of 16 x 16 pixels."""

    def __post_init__(self) -> None:
        if min(self.latent_channels, self.width, self.patch_size) < 1:
            raise ValueError(
                "latent_channels, width and patch_size must be at least 1, "
                f"got {self.latent_channels}, {self.width}, {self.patch_size}"
            )


@dataclass(kw_only=True, eq=False)
class TAEHVEncoderCache(StreamingEncoderCache):
    """A rollout's state in the encoder."""

    state: State = field(default_factory=dict)
    """The last frame that each memory block saw; empty before the first chunk."""
    autoregressive_index: int | None = None
    """Index of the newest chunk; None before the first."""


class TAEHVEncoder(StreamingVideoEncoder[TAEHVEncoderCache]):
    """Video `[..., T, 3, H, W]` in [-1, 1] to latents `[..., T / 4, C, h, w]`. Any chunking gives the same latents."""

    def __init__(self, config: TAEHVEncoderConfig) -> None:
        """Raises what `load_checkpoint` and `load_into` raise for a file that is missing or does not fit."""
        super().__init__(config)
        self.encoder = TinyEncoder(config.latent_channels, config.width, config.patch_size)
        if config.checkpoint_path is not None:
            tensors = open_checkpoint(config.checkpoint_path)
            own = {key: tensors[key] for key in tensors if key.startswith("encoder.")}
            load_into(self, own, name=config.checkpoint_path)
        self.to(config.dtype).eval()

    def initialize_autoregressive_cache(self) -> TAEHVEncoderCache:  # type: ignore[override]
        """Return the cache of a new rollout, of any batch and size."""
        return TAEHVEncoderCache()

    @torch.no_grad()
    def forward(self, input: Tensor, autoregressive_index: int = 0, cache: TAEHVEncoderCache | None = None) -> Tensor:
        """Return the latents of chunk `autoregressive_index`; `cache=None` is a whole clip.

        Raises ValueError for sizes that do not divide, and for any index but the cache's next one.
        """
        cache = TAEHVEncoderCache() if cache is None else cache
        if input.dim() < 4 or input.shape[-3] != 3 or not input.is_floating_point():
            raise ValueError(f"input must be floats [..., T, 3, H, W], got {input.dtype} {list(input.shape)}")
        ratio = self.spatial_compression_ratio
        if input.shape[-1] % ratio or input.shape[-2] % ratio:
            raise ValueError(f"height and width must be multiples of {ratio}, got {list(input.shape[-2:])}")
        self.get_output_temporal_size(autoregressive_index, input.shape[-4])
        check_follows(autoregressive_index, cache.autoregressive_index)
        video = input.reshape(-1, *input.shape[-4:])
        weight = next(self.parameters())
        pixels = ((video.flatten(0, 1).float() + 1) / 2).to(weight)
        latents = self.encoder(pixels, cache.state, len(video))
        cache.autoregressive_index = autoregressive_index
        return latents.unflatten(0, (len(video), -1)).reshape(*input.shape[:-4], -1, *latents.shape[1:])

    @property
    def spatial_compression_ratio(self) -> int:
        return SPACE_RATIO * self.config.patch_size

    @property
    def temporal_compression_ratio(self) -> int:
        return TIME_RATIO

    def get_output_temporal_size(self, autoregressive_index: int, input_temporal_size: int) -> int:
        if input_temporal_size < TIME_RATIO or input_temporal_size % TIME_RATIO:
            raise ValueError(f"frames of a chunk must be a multiple of {TIME_RATIO}, got {input_temporal_size}")
        return input_temporal_size // TIME_RATIO

    def get_input_temporal_size(self, autoregressive_index: int, output_temporal_size: int) -> int:
        if output_temporal_size < 1:
            raise ValueError(f"latents of a chunk must be at least 1, got {output_temporal_size}")
        return output_temporal_size * TIME_RATIO
