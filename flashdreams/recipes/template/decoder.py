"""The decoder: latents of a chunk to frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from flashdreams.infra.decoder import DecoderConfig, StreamingDecoder, StreamingDecoderCache


@dataclass(kw_only=True)
class TemplateDecoderConfig(DecoderConfig):
    """Config of `TemplateDecoder`."""

    _target: type[TemplateDecoder] = field(default_factory=lambda: TemplateDecoder)

    in_channels: int = 4
    """Channels of a latent."""
    out_channels: int = 3
    """Channels of a frame."""
    dtype: torch.dtype = torch.bfloat16
    """Type of the weights."""


class TemplateDecoder(StreamingDecoder[StreamingDecoderCache]):
    """Latents `[B, T, in_channels, H, W]` -> video `[B, T, out_channels, H, W]` in [-1, 1]."""

    def __init__(self, config: TemplateDecoderConfig) -> None:
        super().__init__(config)
        self.project = nn.Linear(config.in_channels, config.out_channels, dtype=config.dtype)

    def initialize_autoregressive_cache(self, **_context: Any) -> StreamingDecoderCache:
        """Return an empty cache: every chunk is decoded by itself."""
        return StreamingDecoderCache()

    @torch.no_grad()
    def forward(
        self, input: Tensor, autoregressive_index: int = 0, cache: StreamingDecoderCache | None = None
    ) -> Tensor:
        """Return the frames of chunk `autoregressive_index`."""
        return self.project(input.to(self.project.weight.dtype).movedim(2, -1)).tanh().movedim(-1, 2)
