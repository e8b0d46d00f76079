"""Prompt to video with Krea Realtime: the oldest picture of the context is encoded again."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from flashdreams.infra.memory.plan import MemoryPlan, PartMemory
from flashdreams.infra.memory.tracker import MemoryTracker, on_meta, weight_bytes
from flashdreams.integrations.krea_realtime.transformer import KreaTransformerConfig
from flashdreams.recipes.wan import WanVAEEncoder, WanVAEEncoderConfig
from flashdreams.recipes.wan.autoencoder.network import TIME_RATIO
from flashdreams.recipes.wan.pipeline import (
    WanInferencePipeline,
    WanInferencePipelineCache,
    WanInferencePipelineConfig,
)


@dataclass(kw_only=True)
class KreaPipelineConfig(WanInferencePipelineConfig):
    """Config of `KreaPipeline`."""

    _target: type = field(default_factory=lambda: KreaPipeline)

    frame_encoder: WanVAEEncoderConfig | None = field(default_factory=WanVAEEncoderConfig)
    """Encodes the oldest frame kept; None with `keep_first_frame`, which needs none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.frame_encoder is None) != self.rollout.keep_first_frame:
            raise ValueError("frame_encoder must be None with keep_first_frame, and given without it")
        if self.frame_encoder is not None and (self.decoder is None or self.finalize_aside):
            raise ValueError("a frame_encoder needs a decoder, whose frames it encodes, and finalize_aside off")

    @property
    def rollout(self) -> KreaTransformerConfig:
        """The transformer's config."""
        transformer = self.diffusion_model.transformer
        if not isinstance(transformer, KreaTransformerConfig):
            raise TypeError(f"transformer must be a KreaTransformerConfig, got {type(transformer).__name__}")
        return transformer

    @property
    def kept_frames(self) -> int:
        """Newest frames that a rollout keeps: one, and those of the context's latents after the first."""
        return 1 + TIME_RATIO * (self.rollout.context_size_t - 1)

    def memory_plan(self, height: int, width: int, *, rollouts: int = 1, processes: int | None = None) -> MemoryPlan:
        """See `StreamInferencePipelineConfig.memory_plan`."""
        plan = super().memory_plan(height, width, rollouts=rollouts, processes=processes)
        if self.frame_encoder is None:
            return plan
        encoder, batch = on_meta(self.frame_encoder), self.rollout.batch_shape
        with torch.no_grad(), MemoryTracker() as tracker:
            frame = torch.zeros(*batch, 1, 3, height, width, device="meta", dtype=self.frame_encoder.dtype)
            encoder(frame)
        part = PartMemory(name="frame encoder", weights=weight_bytes(encoder), working=tracker.peak)
        frames = self.kept_frames * frame.nbytes
        return replace(plan, parts=(*plan.parts, part), rollout=plan.rollout + frames)


@dataclass(kw_only=True)
class KreaPipelineCache(WanInferencePipelineCache):
    """All state of one rollout."""

    frames: Tensor | None = None
    """Newest frames `[*batch, T, 3, H, W]` in [-1, 1], at most `kept_frames`; None where none is encoded again."""


class KreaPipeline(WanInferencePipeline):
    """See `KreaPipelineConfig`."""

    config: KreaPipelineConfig
    frame_encoder: WanVAEEncoder | None
    """Encoder of single frames."""

    def __init__(self, config: KreaPipelineConfig) -> None:
        super().__init__(config)
        self.frame_encoder = None if config.frame_encoder is None else config.frame_encoder.setup()

    def initialize_cache(self, *args: Any, **kwargs: Any) -> KreaPipelineCache:
        """See `WanInferencePipeline.initialize_cache`."""
        base = super().initialize_cache(*args, **kwargs)
        return KreaPipelineCache(**{each.name: getattr(base, each.name) for each in fields(base)})

    def generate_with(self, autoregressive_index: int, cache: WanInferencePipelineCache, input: Any) -> Tensor:
        """Generate a chunk, and keep the newest frames."""
        assert isinstance(cache, KreaPipelineCache)
        video = super().generate_with(autoregressive_index, cache, input)
        if self.frame_encoder is not None:
            frames = video if cache.frames is None else torch.cat([cache.frames, video], -4)
            cache.frames = frames[..., -self.config.kept_frames :, :, :, :].clone()
        return video

    @torch.no_grad()
    def finalize(self, autoregressive_index: int, cache: Any) -> dict[str, float] | None:
        """Make the context of the next chunk; errors as in `StreamInferencePipeline.finalize`."""
        waits = cache.final_state is not None and not cache.finalized
        needed = autoregressive_index >= self.config.rollout.context_chunks
        if self.frame_encoder is not None and waits and needed:
            self.onload(self.frame_encoder)
            cache.transformer_cache.encoded = self.frame_encoder(cache.frames[..., :1, :, :, :])
        return super().finalize(autoregressive_index, cache)
