"""Few-step flow matching that predicts the clean latent and noises it again, as self-forcing trained models need."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from flashdreams.infra.diffusion.scheduler.base import (
    FlowPredictor,
    NoiseSource,
    Scheduler,
    SchedulerConfig,
    arithmetic_dtype,
    check_steps,
    draw_noise,
    nearest_level,
)


@dataclass(kw_only=True)
class FlowMatchSchedulerConfig(SchedulerConfig):
    """Config of `FlowMatchScheduler`."""

    _target: type = field(default_factory=lambda: FlowMatchScheduler)

    num_inference_steps: int = 4
    """Network evaluations per chunk."""
    shift: float = 8.0
    """Warp of the noise levels towards noise: `s <- shift s / (1 + (shift - 1) s)`."""
    denoising_timesteps: list[float] = field(default_factory=lambda: [1000, 750, 500, 250])
    """One timestep per step, from noise to clean."""
    warp_denoising_step: bool = True
    """Read each denoising timestep `d` as table entry `num_train_timesteps - d` (warped) instead of as it stands."""
    num_train_timesteps: int = 1000
    """Timestep of pure noise (sigma 1)."""
    sigma_max: float = 1.0
    """Noise level of the table's first entry, before the warp."""
    sigma_min: float = 0.0
    """Noise level that the table runs to, before the warp."""
    extra_one_step: bool = True
    """Leave `sigma_min` itself out of the table."""
    timestep_dtype: torch.dtype = torch.float32
    """Type in which the network gets its timestep; an integer type truncates."""
    enable_tqdm: bool = False
    """Show a progress bar over the denoising steps."""


class FlowMatchScheduler(Scheduler):
    """`x0 = x - s_i v(x, t_i)`, then `x = (1 - s_{i+1}) x0 + s_{i+1} eps` with fresh `eps`, until the last `x0`."""

    denoising_step_list: Tensor
    """`[num_inference_steps]`: the timestep that the network gets at each step."""
    denoising_sigmas: Tensor
    """fp32 `[num_inference_steps]`: the noise level at each step."""
    _full_timesteps: Tensor
    """fp32 `[num_train_timesteps]`: the warped timesteps, from noise to clean."""
    _full_sigmas: Tensor
    """fp32 `[num_train_timesteps]`: their noise levels."""

    def __init__(self, config: FlowMatchSchedulerConfig) -> None:
        super().__init__(config)
        check_steps(config.num_inference_steps, config.shift, config.num_train_timesteps)
        _check_config(config)
        total = config.num_train_timesteps
        points = total + 1 if config.extra_one_step else total
        # In fp32 from the start, as the models were trained: fp64 gives other last bits (727.27271, not 727.27277).
        s = torch.linspace(config.sigma_max, config.sigma_min, points, dtype=torch.float32, device="cpu")[:total]
        s = config.shift * s / (1 + (config.shift - 1) * s)
        self._keep("_full_sigmas", s)
        self._keep("_full_timesteps", s * total)

        wanted = torch.tensor(config.denoising_timesteps, dtype=torch.float32, device="cpu")
        if config.warp_denoising_step:
            entry = (total - wanted).long()
            sigmas = torch.cat([s, s[-1:]])[entry]
            timesteps = torch.cat([s * total, torch.zeros(1, device="cpu")])[entry]
        else:
            sigmas, timesteps = nearest_level(wanted, s * total, s), wanted
        self._keep("denoising_sigmas", sigmas)
        self._keep("denoising_step_list", timesteps.to(config.timestep_dtype))
        # The same fp32 numbers as Python floats: scalars in a kernel's arguments cost no lookup on the device.
        self._levels: list[float] = sigmas.tolist()

    @property
    def timesteps(self) -> Tensor:
        """`denoising_step_list` under the name that the other schedulers use."""
        return self.denoising_step_list

    @property
    def sigmas(self) -> Tensor:
        """`denoising_sigmas` under the name that the other schedulers use."""
        return self.denoising_sigmas

    @property
    def levels(self) -> tuple[float, ...]:
        """`denoising_sigmas` as Python numbers, for which no device is asked."""
        return tuple(self._levels)

    def sample(self, initial_noise: Tensor, predict_flow: FlowPredictor, rng: NoiseSource | None = None) -> Tensor:
        """See `Scheduler.sample`; `rng` draws the noise between the steps."""
        dtype, exact = initial_noise.dtype, arithmetic_dtype(initial_noise)
        x = x0 = initial_noise.to(exact)
        for i in self._steps(len(self._levels)):
            if i > 0:
                eps = draw_noise(x0.shape, initial_noise, rng)
                x = (x0 * (1 - self._levels[i])).add_(eps, alpha=self._levels[i])
            flow = predict_flow(x.to(dtype), self._timestep(i))
            x0 = x.sub(flow, alpha=self._levels[i])
        return x0.to(dtype)

    def add_noise(self, clean_input: Tensor, timestep: Tensor | float, rng: NoiseSource | None = None) -> Tensor:
        """See `Scheduler.add_noise`; the schedule is the whole warped table of `num_train_timesteps` entries."""
        return self._noised(clean_input, timestep, rng, self._full_timesteps, self._full_sigmas)


def _check_config(config: FlowMatchSchedulerConfig) -> None:
    steps, total = config.denoising_timesteps, config.num_train_timesteps
    if len(steps) != config.num_inference_steps:
        raise ValueError(
            f"denoising_timesteps must have num_inference_steps = {config.num_inference_steps} entries, "
            f"got {len(steps)}: {steps}"
        )
    for step in steps:
        if not 0 <= step <= total:
            raise ValueError(f"denoising_timesteps must lie in [0, {total}], got {step}")
        if config.warp_denoising_step and step != int(step):
            raise ValueError(f"denoising_timesteps must be whole numbers with warp_denoising_step, got {step}")
    if not 0 <= config.sigma_min < config.sigma_max <= 1:
        raise ValueError(
            f"noise levels must keep 0 <= sigma_min < sigma_max <= 1, got {config.sigma_min} and {config.sigma_max}"
        )
