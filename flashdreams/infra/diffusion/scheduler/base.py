"""The contract of samplers: `sample` and `add_noise`, in fp32 whatever the model's dtype.

Flow matching throughout: `x_t = (1 - s) x_0 + s eps`, and a flow `v` gives `x_0 = x_t - s v`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from flashdreams.core.distributed.noise import SharedNoise
from flashdreams.infra.config.base import InstantiateConfig


class NoiseOfRows:
    """A source of noise for a batch, each of whose rows has a source of its own."""

    def __init__(self, sources: Sequence[NoiseSource | None]) -> None:
        self._sources = sources

    def normal(self, shape: Sequence[int], *, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Return standard normal noise of `shape`, whose first dim the sources share evenly."""
        like, own = torch.empty(0, dtype=dtype, device=device), (shape[0] // len(self._sources), *shape[1:])
        return torch.cat([draw_noise(own, like, source) for source in self._sources])


NoiseSource = torch.Generator | SharedNoise | NoiseOfRows
"""Source of noise; processes that share a sequence share the noise too."""


class FlowPredictor(Protocol):
    """A network closed over everything but the latent and the timestep."""

    def __call__(self, noisy_latent: Tensor, timestep: Tensor) -> Tensor:
        """Return the flow at `noisy_latent`, of its shape; `timestep` is a scalar tensor."""


@dataclass(kw_only=True)
class SchedulerConfig(InstantiateConfig):
    """Config of a `Scheduler`."""

    _target: type = field(default_factory=lambda: Scheduler)


class Scheduler(nn.Module, ABC):
    """A sampler over latents of any shape. It holds no rollout state."""

    _step_timesteps: tuple[Tensor, ...] | None = None

    def __init__(self, config: SchedulerConfig) -> None:
        super().__init__()
        self.config: Any = config

    @abstractmethod
    def sample(self, initial_noise: Tensor, predict_flow: FlowPredictor, rng: NoiseSource | None = None) -> Tensor:
        """Return a clean latent of the shape, device and dtype of `initial_noise`; `rng` draws any fresh noise."""

    @abstractmethod
    def add_noise(self, clean_input: Tensor, timestep: Tensor | float, rng: NoiseSource | None = None) -> Tensor:
        """Return `clean_input` noised to the entry of the schedule that is nearest to `timestep`, in its dtype.

        `timestep`: a number or a tensor whose shape is a prefix of the input's (scalar, per batch, per token).
        Raises ValueError for other shapes and for timesteps outside `[0, num_train_timesteps]`.
        """

    def _noised(
        self,
        clean_input: Tensor,
        timestep: Tensor | float,
        rng: NoiseSource | None,
        schedule: Tensor,
        sigmas: Tensor,
    ) -> Tensor:
        """Return `add_noise` over a `schedule` of timesteps and their noise levels."""
        wanted = _checked_timestep(clean_input, timestep, self.config.num_train_timesteps)
        sigma = nearest_level(wanted, schedule, sigmas)
        sigma = sigma.reshape(*sigma.shape, *[1] * (clean_input.ndim - sigma.ndim))
        noise = draw_noise(clean_input.shape, clean_input, rng)
        clean = clean_input.to(arithmetic_dtype(clean_input))
        return ((1 - sigma) * clean + sigma * noise).to(clean_input.dtype)

    def _timestep(self, step: int) -> Tensor:
        """Return `self.timesteps[step]`: at each chunk the same tensor, so that embeddings of it can be kept."""
        if self._step_timesteps is None:
            timesteps: Any = self.timesteps
            self._step_timesteps = timesteps.unbind()
        return self._step_timesteps[step]

    def _steps(self, count: int) -> Iterable[int]:
        if not self.config.enable_tqdm:
            return range(count)
        from tqdm import tqdm

        steps: Iterable[int] = tqdm(range(count), desc="denoise", leave=False)
        return steps

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move buffers with `.to(device)` but keep their dtype: a timestep of 937.5 would be 936 in bf16."""

        def keep_dtype(buffer: Tensor) -> Tensor:
            return buffer.to(fn(buffer).device)

        self._step_timesteps = None
        applied: Self = super()._apply(keep_dtype, recurse)  # type: ignore[no-untyped-call]
        return applied

    def _keep(self, name: str, table: Tensor) -> None:
        self.register_buffer(name, table, persistent=False)


def nearest_level(timestep: Tensor, schedule: Tensor, sigmas: Tensor) -> Tensor:
    """Return the noise level of the entry of `schedule` that is nearest to each `timestep`."""
    distance = (schedule - timestep.unsqueeze(-1)).abs()
    return sigmas.take(distance.argmin(dim=-1))  # indexing with a tensor of no dims would wait for the device


def arithmetic_dtype(x: Tensor) -> torch.dtype:
    """Return the dtype to do sampler arithmetic in: fp32, or fp64 for fp64 latents."""
    return torch.promote_types(x.dtype, torch.float32)


def draw_noise(shape: Any, like: Tensor, rng: NoiseSource | None) -> Tensor:
    """Return standard normal noise of `shape` with the dtype and device of `like`."""
    if isinstance(rng, SharedNoise | NoiseOfRows):
        return rng.normal(shape, dtype=like.dtype, device=like.device)
    return torch.randn(shape, dtype=like.dtype, device=like.device, generator=rng)


def check_steps(num_inference_steps: int, shift: float, num_train_timesteps: int) -> None:
    """Raise ValueError unless there is a step to make, the shift is positive and there are timesteps."""
    if num_train_timesteps < 1:
        raise ValueError(f"num_train_timesteps must be at least 1, got {num_train_timesteps}")
    if num_inference_steps < 1:
        raise ValueError(f"num_inference_steps must be at least 1, got {num_inference_steps}")
    if not 0 < shift < float("inf"):
        raise ValueError(f"shift must be a positive number, got {shift}")


def _checked_timestep(clean_input: Tensor, timestep: Tensor | float, most: int) -> Tensor:
    t = torch.as_tensor(timestep, dtype=torch.float32, device=clean_input.device)
    fits = t.ndim <= clean_input.ndim and all(a in (1, b) for a, b in zip(t.shape, clean_input.shape, strict=False))
    if not fits:
        raise ValueError(f"timestep of shape {tuple(t.shape)} is no prefix of the input's {tuple(clean_input.shape)}")
    # A tensor on a GPU is trusted: looking at it would stall the stream.
    if t.device.type == "cpu" and not bool(((t >= 0) & (t <= most)).all()):
        raise ValueError(f"timestep must lie in [0, {most}], got {timestep}")
    return t
