"""The encoder: a control for every frame, such as an action, as channels of the latent's size."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from flashdreams.infra.encoder import EncoderConfig, StreamingEncoder, StreamingEncoderCache


@dataclass(kw_only=True)
class TemplateControlEncoderConfig(EncoderConfig):
    """Config of `TemplateControlEncoder`."""

    _target: type[TemplateControlEncoder] = field(default_factory=lambda: TemplateControlEncoder)

    control_channels: int = 8
    """Channels of a control."""
    out_channels: int = 4
    """Channels that the transformer reads."""
    dtype: torch.dtype = torch.bfloat16
    """Type of the weights."""


class TemplateControlEncoder(StreamingEncoder[StreamingEncoderCache]):
    """Controls `[B, T, control_channels, H, W]` of a chunk -> `[B, T, out_channels, H, W]`."""

    def __init__(self, config: TemplateControlEncoderConfig) -> None:
        super().__init__(config)
        self.project = nn.Linear(config.control_channels, config.out_channels, dtype=config.dtype)

    def initialize_autoregressive_cache(self, **_context: Any) -> StreamingEncoderCache:
        """Return an empty cache: every chunk is encoded by itself."""
        return StreamingEncoderCache()

    @torch.no_grad()
    def forward(
        self, input: Tensor, autoregressive_index: int = 0, cache: StreamingEncoderCache | None = None
    ) -> Tensor:
        """Return the encoded control of chunk `autoregressive_index`."""
        return self.project(input.to(self.project.weight.dtype).movedim(2, -1)).movedim(-1, 2)
