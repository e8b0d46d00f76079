"""The model: a network that denoises the latents of one chunk after another, and a decoder to frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flashdreams.core.checkpoint import load_into
from flashdreams.infra.decoder import StreamingDecoder, StreamingDecoderCache
from flashdreams.infra.diffusion.transformer.base import Transformer, TransformerAutoregressiveCache, TransformerConfig

FRAMES, CHANNELS, ROWS, COLUMNS, PIXELS = 4, 3, 18, 32, 8
"""Frames of a chunk, a latent each; channels, rows and columns of a latent; pixels along a side of its positions."""


class SwirlCache(TransformerAutoregressiveCache):
    """All state of one dream that the network needs. Yours will hold keys and values of the past; this one none."""


@dataclass(kw_only=True)
class SwirlTransformerConfig(TransformerConfig):
    """Sizes of the network, and where its weights are."""

    _target: type = field(default_factory=lambda: SwirlTransformer)

    width: int = 64
    """Features inside."""
    checkpoint_path: str | None = None
    """Weights, a local file or hf://owner/name/path; None leaves them random, which is all that this model needs."""


class SwirlTransformer(Transformer[SwirlCache]):
    """Latents `[1, F, C, ROWS, COLUMNS]`, a token per position; input is a pose per frame, `[1, F, 4, 4]`."""

    latent_shape = (1, FRAMES * ROWS * COLUMNS, CHANNELS)

    def __init__(self, config: SwirlTransformerConfig) -> None:
        super().__init__(config)
        sizes = (4 + CHANNELS, config.width, config.width, CHANNELS)
        self.network = nn.Sequential(*(part for i in range(3) for part in (nn.Linear(*sizes[i : i + 2]), nn.Tanh())))
        for layer in self.network[::2]:
            nn.init.normal_(layer.weight, std=1.6 / layer.in_features**0.5, generator=torch.Generator().manual_seed(7))
        if config.checkpoint_path is not None:
            load_into(self, config.checkpoint_path)

    def initialize_autoregressive_cache(self, **context: Any) -> SwirlCache:
        return SwirlCache()

    def patchify_and_maybe_split_cp(self, x: Tensor) -> Tensor:
        return x if x.shape[-2:] == (4, 4) else x.movedim(2, -1).flatten(1, 3)  # poses stay as they are

    def unpatchify_and_maybe_gather_cp(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (FRAMES, ROWS, COLUMNS)).movedim(-1, 2)

    def predict_flow(self, noisy_latent: Tensor, timestep: Tensor, cache: SwirlCache, input: Any = None) -> Tensor:
        """Flow from the clean latent to the noise: with `x_t = (1 - s) x_0 + s noise` it is `(x_t - x_0) / s`."""
        rows, columns = torch.linspace(-1, 1, ROWS), torch.linspace(-1.6, 1.6, COLUMNS)
        height, bearing = (each.to(input) for each in torch.meshgrid(rows, columns, indexing="ij"))
        yaw, x, z = torch.atan2(input[0, :, 0, 2], input[0, :, 2, 2]), input[0, :, 0, 3], input[0, :, 2, 3]
        yaw, x, z = (each[:, None, None] for each in (yaw, x, z))
        seen = torch.stack(torch.broadcast_tensors(bearing + 3 * yaw, height, x, z), -1)
        clean = self.network(torch.cat([seen.flatten(0, 2)[None], 0.05 * noisy_latent], -1))
        return (noisy_latent - clean) / (timestep / 1000).clamp(min=1e-3)


class SwirlDecoder(StreamingDecoder[StreamingDecoderCache]):
    """Latents of a chunk -> video `[1, F, 3, H, W]` in [-1, 1]."""

    def initialize_autoregressive_cache(self, **context: Any) -> StreamingDecoderCache:
        return StreamingDecoderCache()

    def forward(self, input: Tensor, autoregressive_index: int = 0, cache: Any = None) -> Tensor:
        return F.interpolate(input[0], scale_factor=PIXELS, mode="bicubic").clamp(-1, 1)[None]
