"""The plainest flow sampler: Euler steps along the predicted flow."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from flashdreams.infra.diffusion.scheduler.base import (
    FlowPredictor,
    NoiseSource,
    Scheduler,
    SchedulerConfig,
    arithmetic_dtype,
    check_steps,
)
from flashdreams.infra.diffusion.scheduler.fm_unipc import wan_sigmas


@dataclass(kw_only=True)
class FlowMatchEulerDiscreteSchedulerConfig(SchedulerConfig):
    """Config of `FlowMatchEulerDiscreteScheduler`."""

    _target: type = field(default_factory=lambda: FlowMatchEulerDiscreteScheduler)

    num_inference_steps: int = 4
    """Network evaluations per chunk."""
    shift: float = 5.0
    """Warp of the noise levels towards noise: `s <- shift s / (1 + (shift - 1) s)`."""
    num_train_timesteps: int = 1000
    """Timestep of pure noise (sigma 1)."""
    fixed_timesteps: tuple[float, ...] | None = None
    """Timesteps to use as they stand, `num_inference_steps + 1` of them: the last is where the sampler ends."""
    enable_tqdm: bool = False
    """Show a progress bar over the denoising steps."""


class FlowMatchEulerDiscreteScheduler(Scheduler):
    """`x <- x + (s_{i+1} - s_i) v(x, t_i)`."""

    timesteps: Tensor
    """fp32 `[num_inference_steps + 1]`: the timestep at each step, and the one where the sampler ends."""
    sigmas: Tensor
    """fp32 `[num_inference_steps + 1]`: their noise levels."""

    def __init__(self, config: FlowMatchEulerDiscreteSchedulerConfig) -> None:
        super().__init__(config)
        check_steps(config.num_inference_steps, config.shift, config.num_train_timesteps)
        steps, total = config.num_inference_steps, config.num_train_timesteps
        if config.fixed_timesteps is None:
            timesteps = [*(wan_sigmas(steps, config.shift, total) * total).tolist(), 0.0]
        else:
            timesteps = _checked(config.fixed_timesteps, steps, total)
        self._keep("timesteps", torch.tensor(timesteps, dtype=torch.float32, device="cpu"))
        self._keep("sigmas", torch.tensor([t / total for t in timesteps], dtype=torch.float32, device="cpu"))
        levels = self.sigmas.tolist()
        self._strides: list[float] = [after - here for here, after in pairwise(levels)]

    def sample(self, initial_noise: Tensor, predict_flow: FlowPredictor, rng: NoiseSource | None = None) -> Tensor:
        """See `Scheduler.sample`; this sampler draws no noise."""
        dtype, exact = initial_noise.dtype, arithmetic_dtype(initial_noise)
        x = initial_noise.to(exact)
        for i in self._steps(len(self._strides)):
            x = x.add(predict_flow(x.to(dtype), self._timestep(i)), alpha=self._strides[i])
        return x.to(dtype)

    def add_noise(self, clean_input: Tensor, timestep: Tensor | float, rng: NoiseSource | None = None) -> Tensor:
        """See `Scheduler.add_noise`; the schedule is `timesteps`, its end included."""
        return self._noised(clean_input, timestep, rng, self.timesteps, self.sigmas)


class ScheduleLengthError(ValueError, AssertionError):
    """A list of timesteps with another length than the number of steps asks for; documented as an assertion."""


def _checked(fixed_timesteps: tuple[float, ...], steps: int, total: int) -> list[float]:
    if len(fixed_timesteps) != steps + 1:
        raise ScheduleLengthError(
            f"fixed_timesteps length must be num_inference_steps + 1 = {steps + 1} entries, "
            f"got {len(fixed_timesteps)}: {fixed_timesteps}"
        )
    for t in fixed_timesteps:
        if not 0 <= t <= total:
            raise ValueError(f"fixed_timesteps must lie in [0, {total}], got {t}")
    return [float(t) for t in fixed_timesteps]
