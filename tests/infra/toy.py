"""A diffusion model small enough to reason about: its context is a running sum, its sizes differ by rollout."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from flashdreams.infra.decoder import DecoderConfig, StreamingDecoder, StreamingDecoderCache
from flashdreams.infra.diffusion.model.base import DiffusionModelConfig
from flashdreams.infra.diffusion.scheduler import FlowMatchSchedulerConfig
from flashdreams.infra.diffusion.transformer.base import Transformer, TransformerAutoregressiveCache, TransformerConfig
from flashdreams.infra.encoder import EncoderConfig, StreamingEncoder, StreamingEncoderCache
from flashdreams.infra.pipeline.base import StreamInferencePipelineConfig

CHANNELS = 4


class ToyCache(TransformerAutoregressiveCache):
    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        self.context = torch.zeros(CHANNELS)
        self.calls: list[tuple[str, int]] = []
        self.timesteps: list[float] = []

    def start(self, autoregressive_index: int) -> None:
        self.calls.append(("start", autoregressive_index))

    def finalize(self, autoregressive_index: int) -> None:
        self.calls.append(("finalize", autoregressive_index))


class ToyTransformer(Transformer[ToyCache]):
    def __init__(self, config: ToyTransformerConfig) -> None:
        super().__init__(config)
        torch.manual_seed(0)
        self.mix = nn.Linear(CHANNELS, CHANNELS)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (1, 2 * 3, CHANNELS)

    def latent_shape_of(self, cache: ToyCache) -> tuple[int, ...]:
        return (1, cache.height * cache.width, CHANNELS)

    def predict_flow(self, noisy_latent: Tensor, timestep: Tensor, cache: ToyCache, input: Any = None) -> Tensor:
        cache.timesteps.append(float(timestep))
        shift = cache.context if input is None else cache.context + input.mean()
        return self.mix(noisy_latent) + shift.to(noisy_latent.dtype)

    def finalize_kv_cache(self, noisy_latent: Tensor, timestep: Tensor, cache: ToyCache, input: Any = None) -> None:
        cache.timesteps.append(float(timestep))
        cache.context += noisy_latent.mean(dim=(0, 1)).float()

    def patchify_and_maybe_split_cp(self, x: Any) -> Any:
        return rearrange(x, "b c h w -> b (h w) c")

    def unpatchify_and_maybe_gather_cp(self, x: Tensor) -> Tensor:
        return rearrange(x, "b (h w) c -> b c h w", h=2)

    def unpatchify_of(self, x: Tensor, cache: ToyCache) -> Tensor:
        return rearrange(x, "b (h w) c -> b c h w", h=cache.height)

    def initialize_autoregressive_cache(self, height: int = 2, width: int = 3) -> ToyCache:
        return ToyCache(height, width)


@dataclass(kw_only=True)
class ToyTransformerConfig(TransformerConfig):
    _target: type = field(default_factory=lambda: ToyTransformer)


class RunningSum(StreamingEncoderCache, StreamingDecoderCache):
    def __init__(self) -> None:
        self.total = torch.zeros(())


class ToyEncoder(StreamingEncoder[RunningSum]):
    """Adds everything that it has ever been given in this rollout."""

    def __init__(self, config: ToyEncoderConfig) -> None:
        super().__init__(config)

    def forward(self, input: Any, autoregressive_index: int = 0, cache: RunningSum | None = None) -> Tensor:
        assert cache is not None
        cache.total += input
        return cache.total.expand(1, CHANNELS, 2, 3)

    def initialize_autoregressive_cache(self) -> RunningSum:
        return RunningSum()


@dataclass(kw_only=True)
class ToyEncoderConfig(EncoderConfig):
    _target: type = field(default_factory=lambda: ToyEncoder)


class ToyDecoder(StreamingDecoder[RunningSum]):
    """Adds the mean of the chunk before."""

    def __init__(self, config: ToyDecoderConfig) -> None:
        super().__init__(config)

    def forward(self, input: Tensor, autoregressive_index: int = 0, cache: RunningSum | None = None) -> Tensor:
        assert cache is not None
        output = input + cache.total
        cache.total = input.mean()
        return output

    def initialize_autoregressive_cache(self) -> RunningSum:
        return RunningSum()


@dataclass(kw_only=True)
class ToyDecoderConfig(DecoderConfig):
    _target: type = field(default_factory=lambda: ToyDecoder)


def toy_model(**changes: Any) -> DiffusionModelConfig:
    settings: dict[str, Any] = {"transformer": ToyTransformerConfig(), "scheduler": FlowMatchSchedulerConfig()}
    return DiffusionModelConfig(**settings | changes)


def toy_pipeline(**changes: Any) -> StreamInferencePipelineConfig:
    return StreamInferencePipelineConfig(**{"name": "toy", "diffusion_model": toy_model(seed=1)} | changes)
