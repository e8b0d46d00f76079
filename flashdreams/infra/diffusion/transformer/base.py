"""The contract of a causal flow transformer and of the per-rollout cache that it works on."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from flashdreams.core.distributed.context_parallel import group_size
from flashdreams.infra.config.base import InstantiateConfig
from flashdreams.infra.diffusion.scheduler.base import FlowPredictor, NoiseSource
from flashdreams.infra.memory.offload import OffloadHooks

_log = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False)
class TransformerAutoregressiveCache:
    """A rollout's state in the transformer: KV caches, sizes, RoPE offsets, and the rollout's random generator."""

    rng: NoiseSource | None = field(default=None, init=False, repr=False)
    """Source of this rollout's noise, set by `DiffusionModel.seed_rollout`; None draws from `DiffusionModel.rng`."""

    @property
    def fill(self) -> float:
        """Share of the KV window that holds tokens, 0 to 1, for the app to show; 0 where nobody says."""
        return 0.0

    def start(self, autoregressive_index: int) -> None:
        """Follow a call before the first denoising step of chunk `autoregressive_index`."""

    def finalize(self, autoregressive_index: int) -> None:
        """Follow a call after the clean chunk `autoregressive_index` was written by `finalize_kv_cache`."""


TransformerCacheT = TypeVar("TransformerCacheT", bound=TransformerAutoregressiveCache)
PayloadT = TypeVar("PayloadT")


@dataclass(kw_only=True)
class TransformerConfig(InstantiateConfig):
    """Config of a `Transformer`."""

    _target: type = field(default_factory=lambda: Transformer)


class Transformer(nn.Module, ABC, Generic[TransformerCacheT]):
    """The network that predicts the flow of a patchified noisy latent; it holds weights and no rollout state."""

    cp_group: Any = None
    """The processes that share every chunk's tokens; None is this one alone."""
    offload_hooks: OffloadHooks | None = None
    """Hooks that move networks to the device; None without offloading."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config: Any = config

    def set_context_parallel_group(self, group: Any) -> None:
        """Share every chunk's tokens among the processes of `group`, for rollouts that begin from now on.

        Override it where that is possible and set `cp_group`; here every process goes on doing all of the work.
        """
        if group_size(group) > 1:
            name, size = type(self).__name__, group_size(group)
            _log.warning("%s cannot share its tokens: each of the %d processes does all of the work", name, size)

    def onload(self) -> None:
        """Move to the device for the next calls. A transformer of several networks moves each when it is called."""
        if self.offload_hooks is not None:
            self.offload_hooks.onload(self)

    def networks(self) -> dict[str, nn.Module]:
        """Return the networks that can be on a device by themselves, by name."""
        return {"transformer": self}

    @property
    def device(self) -> torch.device:
        """Device of the weights while it works; the CPU for a transformer without weights."""
        if self.offload_hooks is not None:
            return self.offload_hooks.device
        weight = next(self.parameters(), None)
        return torch.device("cpu") if weight is None else weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the latents that it works on: that of its first floating-point weight, else fp32."""
        return next((w.dtype for w in self.parameters() if w.is_floating_point()), torch.float32)

    @property
    @abstractmethod
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of one chunk's patchified latent on this rank, e.g. `[B, L, D]`."""

    @abstractmethod
    def predict_flow(
        self, noisy_latent: Tensor, timestep: Tensor, cache: TransformerCacheT, input: Any = None
    ) -> Tensor:
        """Return the flow of the patchified `noisy_latent` at `timestep` (scalar, per batch or per token)."""

    @property
    def takes_rows(self) -> bool:
        """True where `rows` can be called."""
        return False

    def rows(self, caches: Sequence[TransformerCacheT], inputs: Sequence[Any]) -> FlowPredictor:
        """Return the flow of the present chunks of several rollouts of one size, as `predict_flow` of a batch.

        The latents `[rows, ...]` have one row for each of `caches`, which stand at any chunks; `timestep` is scalar.
        """
        raise NotImplementedError(f"{type(self).__name__} takes one rollout at a time")

    @abstractmethod
    def patchify_and_maybe_split_cp(self, x: PayloadT) -> PayloadT:
        """Return latents (or a structured payload of them) as tokens, this rank's share.

        Returns the type it is given.
        """

    @abstractmethod
    def unpatchify_and_maybe_gather_cp(self, x: Tensor) -> Tensor:
        """Return the inverse of `patchify_and_maybe_split_cp` for a latent."""

    def latent_shape_of(self, cache: TransformerCacheT) -> tuple[int, ...]:
        """Return `latent_shape` of the rollout `cache`. Override it where rollouts differ in size."""
        return self.latent_shape

    def unpatchify_of(self, x: Tensor, cache: TransformerCacheT) -> Tensor:
        """Return `unpatchify_and_maybe_gather_cp` for the rollout `cache`.

        Override it where rollouts differ in size.
        """
        return self.unpatchify_and_maybe_gather_cp(x)

    def finalize_kv_cache(
        self, noisy_latent: Tensor, timestep: Tensor, cache: TransformerCacheT, input: Any = None
    ) -> None:
        """Write the finished chunk into the KV cache; here by one `predict_flow` whose result is dropped."""
        self.predict_flow(noisy_latent=noisy_latent, timestep=timestep, cache=cache, input=input)

    def initialize_autoregressive_cache(self, **context: Any) -> TransformerCacheT:
        """Return the cache of a new rollout; this one is empty whatever the context, override it to use that."""
        return TransformerAutoregressiveCache()  # type: ignore[return-value]

    def reuse_autoregressive_cache(self, cache: TransformerCacheT, **context: Any) -> TransformerCacheT:
        """Return the cache of a new rollout in the memory of `cache`, whose rollout is over; here a new one."""
        return self.initialize_autoregressive_cache(**context)

    def postprocess_clean_latent(self, clean_latent: Tensor, cache: TransformerCacheT, input: Any = None) -> Tensor:
        """Return the patchified clean latent of a chunk after a last change; here none."""
        return clean_latent
