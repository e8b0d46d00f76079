"""From latents to frames: each latent is a chunk's last frame, the frames before it are found between two such.

The cameras of all frames are known, and the scene encoder has found how far away the things are that both ends show:
so both are redrawn for each camera between, and blended. The decoder streams.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flashdreams.infra.decoder.base import DecoderConfig, StreamingDecoderCache, StreamingVideoDecoder
from flashdreams.integrations.pocket.model.codec import LATENT_CHANNELS, PATCH, PatchCodec
from flashdreams.integrations.pocket.model.deblocking import deblock
from flashdreams.integrations.pocket.model.interpolation import End, frames_between
from flashdreams.integrations.pocket.model.optics import HEIGHT, WIDTH, pixel_rays
from flashdreams.integrations.pocket.model.scene_encoder import DEPTH_SIZE, SceneEncoderCache
from flashdreams.integrations.pocket.scenes.movement import FRAMES_PER_CHUNK

DETAIL = 8.0
"""Factor by which details are scaled for the network: bfloat16 rounds a bright pixel to whole steps of
8 bits, and the seams between tokens are not much more than one."""


@dataclass(kw_only=True)
class PocketDecoderConfig(DecoderConfig):
    """Config of `PocketDecoder`."""

    _target: type = field(default_factory=lambda: PocketDecoder)

    width: int = 48
    """Channels of the network of pixels; that of tokens has twice as many."""
    dtype: torch.dtype = torch.bfloat16
    """Type of the networks; pictures are fp32."""


class PocketDecoderCache(StreamingDecoderCache):
    """The end of the chunk before, and the cameras of the chunk to be decoded."""

    end: End | None = None
    """The last frame shown."""
    poses: Tensor | None = None
    """`[B, F, 4, 4]`: the cameras of the next chunk's frames; set before every `forward`."""
    sight: SceneEncoderCache | None = None
    """Inverse depth from the last of them, by the scene encoder; set before every `forward`."""


class PocketDecoder(StreamingVideoDecoder[PocketDecoderCache]):
    """Latents `[B, 1, 48, 9, 16]` -> frames `[B, T, 3, 144, 256]` in [0, 1]: T is 1 at the first chunk, then 4."""

    rays: Tensor
    few_rays: Tensor

    def __init__(self, config: PocketDecoderConfig) -> None:
        super().__init__(config)
        self.codec = PatchCodec()
        # The denoiser's tokens differ a little in shade where the picture has none.
        self.settle = _convolutions(LATENT_CHANNELS, 2 * config.width, LATENT_CHANNELS, (1,))
        self.sharpen = _convolutions(24, config.width, 12, (1, 2, 1))
        # Convolutions cannot know where they are in a token's patch, and faults are worst along its rim.
        self.within_patch = nn.Parameter(torch.zeros(config.width, PATCH // 2, PATCH // 2, dtype=config.dtype))
        for network in (self.settle, self.sharpen):
            network.to(config.dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.register_buffer("rays", pixel_rays(), persistent=False)
        self.register_buffer("few_rays", pixel_rays(*DEPTH_SIZE), persistent=False)

    @property
    def spatial_compression_ratio(self) -> int:
        return PATCH

    @property
    def temporal_compression_ratio(self) -> int:
        return FRAMES_PER_CHUNK

    def get_output_temporal_size(self, autoregressive_index: int, input_temporal_size: int) -> int:
        """Frames of a chunk of one latent."""
        if input_temporal_size != 1:
            raise ValueError(f"the pocket world's chunks have 1 latent frame, got {input_temporal_size}")
        return 1 if autoregressive_index == 0 else FRAMES_PER_CHUNK

    def get_input_temporal_size(self, autoregressive_index: int, output_temporal_size: int) -> int:
        """Latents that give a chunk's frames: always 1."""
        wanted = self.get_output_temporal_size(autoregressive_index, 1)
        if output_temporal_size != wanted:
            raise ValueError(f"chunk {autoregressive_index} has {wanted} frames, got {output_temporal_size}")
        return 1

    def initialize_autoregressive_cache(self, **context: Any) -> PocketDecoderCache:
        """No context is taken."""
        if context:
            raise TypeError(f"the pocket decoder takes no rollout context, got {', '.join(context)}")
        return PocketDecoderCache()

    def forward(self, input: Tensor, autoregressive_index: int = 0, cache: PocketDecoderCache | None = None) -> Tensor:
        """See the class. `cache.poses` and `cache.sight` must be set for the chunk; without a cache, one picture."""
        image = self.key_frame(input[:, 0])
        if cache is None:
            return image[:, None]
        poses, inverse_depth = cache.poses, None if cache.sight is None else cache.sight.inverse_depth
        if poses is None or inverse_depth is None:
            raise RuntimeError("cache.poses and cache.sight must be set before a chunk is decoded")
        frames, end = image[:, None], End(image, poses[:, -1], inverse_depth)
        if cache.end is not None and poses.shape[1] > 1:
            frames = torch.cat([self.frames_between(cache.end, end, poses[:, :-1]), frames], 1)
        cache.end, cache.poses, cache.sight = end, None, None
        return frames

    def key_frame(self, latent: Tensor) -> Tensor:
        """The picture `[B, 3, H, W]` of a latent `[B, 48, 9, 16]`: the linear code, mended before and after."""
        plain = self.codec.decode(latent.float() + _run(self.settle, latent))
        detail = DETAIL * (plain - local_mean(plain))
        bias = self.within_patch.repeat(1, HEIGHT // PATCH, WIDTH // PATCH)
        mend = _run(self.sharpen, F.pixel_unshuffle(torch.cat([plain, detail], 1), 2), bias)
        return deblock(plain + F.pixel_shuffle(mend, 2))

    def frames_between(self, first: End, last: End, poses: Tensor) -> Tensor:
        """Frames `[B, F, 3, H, W]` at `poses [B, F, 4, 4]`, evenly in time between the ends of a chunk."""
        return frames_between(first, last, poses, self.rays, self.few_rays)


def local_mean(image: Tensor) -> Tensor:
    """Mean `[N, C, H, W]` of the 5x5 pixels around each that are in the picture: as `avg_pool2d`, in less time."""
    return _sum_around(image) / _sum_around(image.new_ones(1, 1, *image.shape[-2:]))


def _sum_around(image: Tensor) -> Tensor:
    for axis, pad in ((-1, (2, 2)), (-2, (0, 0, 2, 2))):
        padded, size = F.pad(image, pad), image.shape[axis]
        image = padded.narrow(axis, 0, size) + padded.narrow(axis, 1, size)
        for shift in (2, 3, 4):
            image += padded.narrow(axis, shift, size)
    return image


def _convolutions(n_in: int, width: int, n_out: int, dilations: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(n_in, width, 3, padding=1), nn.ReLU(inplace=True)]
    for d in dilations:
        layers += [nn.Conv2d(width, width, 3, padding=d, dilation=d), nn.ReLU(inplace=True)]
    layers.append(nn.Conv2d(width, n_out, 3, padding=1))
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    nn.init.zeros_(layers[-1].weight)  # type: ignore[arg-type]
    return nn.Sequential(*layers)


def _run(network: nn.Sequential, x: Tensor, bias: Tensor | None = None) -> Tensor:
    """`network` of `x [N, C, h, w]`; `bias [width, h, w]` is added to the output of its first layer."""
    first, *rest = network
    found: Tensor = first(x.to(next(network.parameters()).dtype, memory_format=torch.channels_last))
    found = found if bias is None else found + bias
    for layer in rest:
        found = layer(found)
    return found.float()
