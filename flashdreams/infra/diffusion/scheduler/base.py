"""What every sampler offers: `sample` and `add_noise`, in fp32 whatever the model's dtype.

Flow matching throughout: `x_t = (1 - s) x_0 + s eps`, and a flow `v` gives `x_0 = x_t - s v`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from flashdreams.core.distributed.noise import SharedNoise
from flashdreams.infra.config.base import InstantiateConfig

NoiseSource = torch.Generator | SharedNoise
"""What noise is drawn from; processes that share a sequence share the noise too."""


class FlowPredictor(Protocol):
    """A network closed over everything but the latent and the timestep."""

    def __call__(self, noisy_latent: Tensor, timestep: Tensor) -> Tensor:
        """Flow at `noisy_latent`, of its shape; `timestep` is a scalar tensor."""


@dataclass(kw_only=True)
class SchedulerConfig(InstantiateConfig):
    """Config of a `Scheduler`."""

    num_train_timesteps: int = 1000
    """Timestep of pure noise (sigma 1)."""
    enable_tqdm: bool = False
    """Show a progress bar over the denoising steps."""


class Scheduler(nn.Module, ABC):
    """A sampler over latents of any shape. It holds no rollout state."""

    timesteps: Tensor
    """`[steps]`: what the network is told at each step."""
    sigmas: Tensor
    """fp32: share of noise at each step (and after the last one, where the sampler has it)."""

    def __init__(self, config: SchedulerConfig) -> None:
        super().__init__()
        if config.num_train_timesteps < 1:
            raise ValueError(f"num_train_timesteps must be at least 1, got {config.num_train_timesteps}")
        self.num_train_timesteps = config.num_train_timesteps
        self.enable_tqdm = config.enable_tqdm
        self._step_timesteps: tuple[Tensor, ...] | None = None

    @abstractmethod
    def sample(self, initial_noise: Tensor, predict_flow: FlowPredictor, rng: NoiseSource | None = None) -> Tensor:
        """A clean latent from `initial_noise`, of its shape, device and dtype; `rng` feeds any fresh noise."""

    def add_noise(self, clean_input: Tensor, timestep: Tensor | float, rng: NoiseSource | None = None) -> Tensor:
        """`clean_input` corrupted to `timestep`, in its dtype.

        `timestep`: a number or a tensor whose shape is a prefix of the input's (scalar, per batch, per token).
        Raises ValueError for other shapes and for timesteps outside `[0, num_train_timesteps]`.
        """
        sigma = self._sigma_at(self._checked_timestep(clean_input, timestep))
        sigma = sigma.reshape(*sigma.shape, *[1] * (clean_input.ndim - sigma.ndim))
        noise = draw_noise(clean_input.shape, clean_input, rng)
        clean = clean_input.to(arithmetic_dtype(clean_input))
        return ((1 - sigma) * clean + sigma * noise).to(clean_input.dtype)

    def _timestep(self, step: int) -> Tensor:
        """What the network is told at `step`: at each chunk the same tensor, so that what is made of it can be kept."""
        if self._step_timesteps is None:
            self._step_timesteps = self.timesteps.unbind()
        return self._step_timesteps[step]

    def _sigma_at(self, timestep: Tensor) -> Tensor:
        return timestep / self.num_train_timesteps

    def _checked_timestep(self, clean_input: Tensor, timestep: Tensor | float) -> Tensor:
        t = torch.as_tensor(timestep, dtype=torch.float32, device=clean_input.device)
        fits = t.ndim <= clean_input.ndim and all(a in (1, b) for a, b in zip(t.shape, clean_input.shape, strict=False))
        if not fits:
            raise ValueError(
                f"timestep of shape {tuple(t.shape)} is no prefix of the input's {tuple(clean_input.shape)}"
            )
        # A tensor on a GPU is trusted: looking at it would stall the stream.
        if t.device.type == "cpu" and not bool(((t >= 0) & (t <= self.num_train_timesteps)).all()):
            raise ValueError(f"timestep must lie in [0, {self.num_train_timesteps}], got {timestep}")
        return t

    def _steps(self, count: int) -> Iterable[int]:
        if not self.enable_tqdm:
            return range(count)
        from tqdm import tqdm

        return tqdm(range(count), desc="denoise", leave=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Buffers follow `.to(device)` but keep their dtype: a timestep of 937.5 would be 936 in bf16."""

        def keep_dtype(buffer: Tensor) -> Tensor:
            return buffer.to(fn(buffer).device)

        self._step_timesteps = None
        applied: Self = super()._apply(keep_dtype, recurse)
        return applied

    def _keep(self, name: str, table: Tensor) -> None:
        self.register_buffer(name, table, persistent=False)


def arithmetic_dtype(x: Tensor) -> torch.dtype:
    """The dtype to do sampler arithmetic in: fp32, or fp64 for fp64 latents."""
    return torch.promote_types(x.dtype, torch.float32)


def draw_noise(shape: Any, like: Tensor, rng: NoiseSource | None) -> Tensor:
    """Standard normal noise of `shape` with the dtype and device of `like`."""
    if isinstance(rng, SharedNoise):
        return rng.normal(shape, dtype=like.dtype, device=like.device)
    return torch.randn(shape, dtype=like.dtype, device=like.device, generator=rng)


def check_steps(num_inference_steps: int, shift: float) -> None:
    """Raises ValueError unless there is a step to make and the shift is positive."""
    if num_inference_steps < 1:
        raise ValueError(f"num_inference_steps must be at least 1, got {num_inference_steps}")
    if not 0 < shift < float("inf"):
        raise ValueError(f"shift must be a positive number, got {shift}")
