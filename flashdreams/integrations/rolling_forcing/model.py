"""Rolling Forcing's sampler: each pass moves every chunk of the window one step, the oldest one to its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from flashdreams.infra.diffusion.model.base import DiffusionModel, DiffusionModelConfig
from flashdreams.infra.diffusion.scheduler import FlowMatchScheduler, FlowMatchSchedulerConfig
from flashdreams.infra.diffusion.scheduler.base import arithmetic_dtype, draw_noise
from flashdreams.integrations.rolling_forcing.transformer import RollingForcingCache, RollingForcingTransformerConfig


@dataclass(kw_only=True)
class RollingForcingModelConfig(DiffusionModelConfig):
    """Config of `RollingForcingModel`."""

    _target: type = field(default_factory=lambda: RollingForcingModel)

    def __post_init__(self) -> None:
        transformer, scheduler = self.transformer, self.scheduler
        if not isinstance(transformer, RollingForcingTransformerConfig):
            raise TypeError(f"transformer must be a RollingForcingTransformerConfig, got {type(transformer).__name__}")
        if not isinstance(scheduler, FlowMatchSchedulerConfig):
            raise TypeError(f"scheduler must be a FlowMatchSchedulerConfig, got {type(scheduler).__name__}")
        if scheduler.num_inference_steps != transformer.steps:
            raise ValueError(
                f"scheduler.num_inference_steps must be the transformer's steps, {transformer.steps}, "
                f"got {scheduler.num_inference_steps}"
            )
        if self.noise_in_unpatchified_shape:
            raise ValueError("noise_in_unpatchified_shape must be False: a window's noise is drawn chunk by chunk")


class RollingForcingModel(DiffusionModel[RollingForcingCache]):
    """A diffusion model whose `generate` finishes one chunk and takes the chunks after it along.

    Chunk `c` is at step `p - c` in pass `p` of a rollout. With S steps the first chunk takes the passes 0 to S - 1,
    over 1 to S chunks; each other one takes a single pass. Noise is drawn chunk by chunk: in each pass first that of
    the chunk that enters, then that which makes the others ready for their next step, oldest first.
    """

    scheduler: FlowMatchScheduler

    def _sample(self, cache: RollingForcingCache, input: Any) -> Tensor:
        index, last = cache.autoregressive_index, len(self.scheduler.levels) - 1
        if cache.chunks is not None and index >= cache.chunks:
            raise ValueError(f"chunk {index} is after the end of a rollout of {cache.chunks} chunks")
        finished = None
        for turn in range(index + last if index else 0, index + last + 1):
            finished = self._pass(cache, turn)
        assert finished is not None
        return finished

    def _pass(self, cache: RollingForcingCache, turn: int) -> Tensor | None:
        """Make pass `turn`, and return the chunk that it finishes, if it does."""
        rng, shape = self._noise_source(cache), self.transformer.latent_shape_of(cache)
        like = torch.empty(0, dtype=self.dtype, device=self.device)
        window = [] if cache.noisy is None else list(cache.noisy.split(shape[-2], -2))
        if cache.chunks is None or turn < cache.chunks:
            window.append(draw_noise(shape, like, rng).to(arithmetic_dtype(like)))
        newest = turn - (cache.autoregressive_index + len(window) - 1)
        steps = slice(newest, newest + len(window))
        timesteps, levels = self.scheduler.timesteps[steps].flip(0), self.scheduler.levels[steps][::-1]
        noisy = torch.cat(window, -2)
        flow = self.transformer.predict_flow(
            noisy_latent=noisy.to(like.dtype), timestep=timesteps, cache=cache, input=None
        )
        flows = flow.split(shape[-2], -2)
        clean = [x.sub(v, alpha=level) for x, v, level in zip(window, flows, levels, strict=True)]
        is_last = newest + len(window) == len(self.scheduler.levels)
        finished = clean.pop(0).to(like.dtype) if is_last else None
        following = self.scheduler.levels[newest + 1 : newest + 1 + len(clean)][::-1]
        window = [
            (x0 * (1 - level)).add_(draw_noise(shape, like, rng), alpha=level)
            for x0, level in zip(clean, following, strict=True)
        ]
        cache.noisy = torch.cat(window, -2) if window else None
        return finished
