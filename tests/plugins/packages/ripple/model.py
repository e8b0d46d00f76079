"""Encoder, transformer and decoder: poses of the camera steer a small causal network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flashdreams.core.attention import BlockKVCache
from flashdreams.infra.decoder import DecoderConfig, StreamingDecoder, StreamingDecoderCache
from flashdreams.infra.diffusion.transformer import Transformer, TransformerAutoregressiveCache, TransformerConfig
from flashdreams.infra.encoder import EncoderConfig, StreamingEncoder, StreamingEncoderCache

FRAMES, CHANNELS, ROWS, COLUMNS, PIXELS = 4, 3, 9, 16, 16


@dataclass(kw_only=True)
class RippleEncoderCache(StreamingEncoderCache):
    """The encoder's state."""

    seen: int = 0


@dataclass(kw_only=True)
class RippleEncoderConfig(EncoderConfig):
    """Config of `RippleEncoder`."""

    _target: type = field(default_factory=lambda: RippleEncoder)

    channels: int = CHANNELS


class RippleEncoder(StreamingEncoder[RippleEncoderCache]):
    """Poses `[B, T, 4, 4]` -> a control of the latent's shape `[B, T, C, H, W]`."""

    def __init__(self, config: RippleEncoderConfig) -> None:
        super().__init__(config)
        torch.manual_seed(2)
        self.project = nn.Linear(12, config.channels)

    def initialize_autoregressive_cache(self, **context: Any) -> RippleEncoderCache:
        return RippleEncoderCache()

    def forward(self, input: Tensor, autoregressive_index: int = 0, cache: RippleEncoderCache | None = None) -> Tensor:
        if cache is not None:
            cache.seen += 1
        control = self.project(input[..., :3, :].flatten(-2))
        return control[..., None, None].expand(*control.shape, ROWS, COLUMNS)


@dataclass(kw_only=True)
class RippleCache(TransformerAutoregressiveCache):
    """The transformer's state: keys and values of the past, and the present chunk."""

    kv: BlockKVCache
    index: int = -1

    def start(self, autoregressive_index: int) -> None:
        self.index = autoregressive_index

    def finalize(self, autoregressive_index: int) -> None:
        assert autoregressive_index == self.index


@dataclass(kw_only=True)
class RippleTransformerConfig(TransformerConfig):
    """Config of `RippleTransformer`."""

    _target: type = field(default_factory=lambda: RippleTransformer)

    width: int = 24
    window_chunks: int = 2


class RippleTransformer(Transformer[RippleCache]):
    """One attention over the past; tokens are positions of the latents."""

    def __init__(self, config: RippleTransformerConfig) -> None:
        super().__init__(config)
        torch.manual_seed(3)
        self.embed, self.out = nn.Linear(2 * CHANNELS, config.width), nn.Linear(config.width, CHANNELS)
        self.qkv = nn.Linear(config.width, 3 * config.width)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (1, FRAMES * ROWS * COLUMNS, CHANNELS)

    def patchify_and_maybe_split_cp(self, x: Any) -> Any:
        return x.movedim(2, -1).flatten(1, 3)

    def unpatchify_and_maybe_gather_cp(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (FRAMES, ROWS, COLUMNS)).movedim(-1, 2)

    def initialize_autoregressive_cache(self, **context: Any) -> RippleCache:
        tokens, width = self.latent_shape[1], self.config.width
        shape = (1, tokens, 2, width // 2)
        return RippleCache(
            kv=BlockKVCache(
                k_shape=shape,
                v_shape=shape,
                seq_dim=1,
                chunk_size=tokens,
                window_size=tokens * self.config.window_chunks,
                sink_size=0,
                device=self.device,
                dtype=self.dtype,
            )
        )

    def predict_flow(self, noisy_latent: Tensor, timestep: Tensor, cache: RippleCache, input: Any = None) -> Tensor:
        x = self.embed(torch.cat([noisy_latent, input], -1))
        q, k, v = self.qkv(x).unflatten(-1, (3, 2, -1)).unbind(-3)
        cache.kv.before_update(cache.index)
        cache.kv.update(k, v)
        heads = [each.transpose(1, 2) for each in (q, cache.kv.cached_k(), cache.kv.cached_v())]
        cache.kv.after_update(cache.index)
        x = x + F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(-2)
        clean = self.out(x).tanh() + input
        return (noisy_latent - clean) / (timestep / 1000).clamp(min=1e-3)


@dataclass(kw_only=True)
class RippleDecoderConfig(DecoderConfig):
    """Config of `RippleDecoder`."""

    _target: type = field(default_factory=lambda: RippleDecoder)

    pixels: int = PIXELS


class RippleDecoder(StreamingDecoder[StreamingDecoderCache]):
    """Latents -> video `[B, T, 3, H, W]` in [-1, 1]."""

    def __init__(self, config: RippleDecoderConfig) -> None:
        super().__init__(config)

    def initialize_autoregressive_cache(self, **context: Any) -> StreamingDecoderCache:
        return StreamingDecoderCache()

    def forward(
        self, input: Tensor, autoregressive_index: int = 0, cache: StreamingDecoderCache | None = None
    ) -> Tensor:
        frames = F.interpolate(input[0], scale_factor=self.config.pixels, mode="bilinear")
        return frames.clamp(-1, 1)[None]
