"""Waypoint's sampler: Euler steps over a schedule that is held in the type of the latent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Self

import torch
from torch import Tensor

from flashdreams.infra.diffusion.scheduler.base import FlowPredictor, NoiseSource, arithmetic_dtype
from flashdreams.infra.diffusion.scheduler.fm_euler import (
    FlowMatchEulerDiscreteScheduler,
    FlowMatchEulerDiscreteSchedulerConfig,
)


@dataclass(kw_only=True)
class WaypointSchedulerConfig(FlowMatchEulerDiscreteSchedulerConfig):
    """Config of `WaypointScheduler`."""

    _target: type = field(default_factory=lambda: WaypointScheduler)


class WaypointScheduler(FlowMatchEulerDiscreteScheduler):
    """`x <- x + (s_{i+1} - s_i) v(x, s_i)`, where all `s` are rounded to the latent's type before they are subtracted.

    In bf16 the levels 0.9 and 0.3 are 0.8984375 and 0.30078125. Sums are in fp32, and rounded at each step.
    """

    def __init__(self, config: WaypointSchedulerConfig) -> None:
        super().__init__(config)
        self._levels: list[float] = self.sigmas.tolist()
        self._schedules: dict[torch.dtype, tuple[tuple[Tensor, ...], list[float]]] = {}

    def sample(self, initial_noise: Tensor, predict_flow: FlowPredictor, rng: NoiseSource | None = None) -> Tensor:
        """See `Scheduler.sample`; this sampler draws no noise."""
        x, exact = initial_noise, arithmetic_dtype(initial_noise)
        timesteps, strides = self._schedule(initial_noise.dtype)
        for i in self._steps(len(strides)):
            flow = predict_flow(x, timesteps[i])
            x = x.to(exact).add(flow, alpha=strides[i]).to(initial_noise.dtype)
        return x

    def _schedule(self, dtype: torch.dtype) -> tuple[tuple[Tensor, ...], list[float]]:
        """Timesteps in fp32, the same tensors at each chunk, and differences of noise levels, rounded to `dtype`."""
        if dtype not in self._schedules:
            with torch.inference_mode(False):
                timesteps = (self.sigmas.to(dtype).float() * self.config.num_train_timesteps).unbind()
            levels = torch.tensor(self._levels).to(dtype).tolist()
            strides = [after - here for here, after in pairwise(levels)]
            self._schedules[dtype] = timesteps, strides
        return self._schedules[dtype]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self._schedules.clear()
        applied: Self = super()._apply(fn, recurse)
        return applied
