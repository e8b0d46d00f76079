"""A transformer and a scheduler as one diffusion model: chunk after chunk of clean latent out of noise."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from flashdreams.core.distributed import agree_on
from flashdreams.core.distributed.context_parallel import group_size
from flashdreams.core.distributed.noise import SharedNoise
from flashdreams.infra.config.base import InstantiateConfig
from flashdreams.infra.diffusion.scheduler.base import Scheduler, SchedulerConfig, draw_noise
from flashdreams.infra.diffusion.transformer.base import Transformer, TransformerAutoregressiveCache, TransformerConfig

_MAX_SEED = 2**63


@dataclass(kw_only=True)
class DiffusionModelConfig(InstantiateConfig):
    """Config of `DiffusionModel`."""

    _target: type = field(default_factory=lambda: DiffusionModel)

    transformer: TransformerConfig
    """The network that predicts the flow."""
    scheduler: SchedulerConfig
    """The sampler."""
    seed: int | None = None
    """Seed of every rollout that brings none of its own; None draws a new one for each."""
    context_noise: int = 0
    """Timestep to which a finished chunk is noised before it enters the KV cache; 0 keeps it clean."""
    noise_in_unpatchified_shape: bool = False
    """Draw the noise in the shape of the latent picture, not of its tokens: the same numbers in another order."""


class DiffusionModel(nn.Module):
    """Holds weights and tables; a rollout's state, its random generator included, is in its transformer cache."""

    @dataclass(kw_only=True)
    class FinalState:
        """What `finalize` needs of a generated chunk."""

        clean_latent: Tensor
        """Patchified, this rank's share."""
        autoregressive_index: int
        """Index of the chunk."""
        cache: TransformerAutoregressiveCache
        """The rollout that it belongs to."""
        input: Any = None
        """Patchified input of the chunk."""

    def __init__(self, config: DiffusionModelConfig) -> None:
        super().__init__()
        if config.context_noise < 0:
            raise ValueError(f"context_noise must be a timestep of at least 0, got {config.context_noise}")
        self.config = config
        self.transformer: Transformer[Any] = config.transformer.setup()
        self.scheduler: Scheduler = config.scheduler.setup()
        self._context_timestep: Tensor | None = None
        self.rng: torch.Generator | None = None if config.seed is None else _generator(config.seed, "cpu")

    @property
    def device(self) -> torch.device:
        """Where latents live."""
        return self.transformer.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the latents."""
        return self.transformer.dtype

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of one chunk's patchified latent on this rank."""
        return self.transformer.latent_shape

    def seed_rollout(self, cache: TransformerAutoregressiveCache, seed: int | None = None) -> None:
        """Give the rollout a random generator of its own.

        `seed=None` takes the config's seed, and without one draws a seed from torch's global generator.
        Processes that share the tokens take the seed of the first of them. Raises ValueError for a seed outside
        `[0, 2**63)`.
        """
        if seed is None and self.rng is not None:
            seed = self.rng.initial_seed()
        if seed is None:
            seed = int(torch.randint(_MAX_SEED - 1, (), dtype=torch.int64, device="cpu"))
        group = self.transformer.cp_group
        if group_size(group) == 1:
            cache.rng = _generator(seed, self.device)
        else:
            cache.rng = SharedNoise(_generator(agree_on(seed, group, self.device), self.device), group)

    @torch.no_grad()
    def generate(
        self, autoregressive_index: int, cache: TransformerAutoregressiveCache, input: Any = None
    ) -> tuple[Tensor, FinalState]:
        """Denoise chunk `autoregressive_index`: its unpatchified clean latent, and what `finalize` needs."""
        if cache.rng is None:
            self.seed_rollout(cache)
        if input is not None:
            input = self.transformer.patchify_and_maybe_split_cp(input)
        cache.start(autoregressive_index)
        predict_flow = partial(self._predict_flow, cache, input)
        clean = self.scheduler.sample(self._initial_noise(cache), predict_flow, rng=cache.rng)
        clean = self.transformer.postprocess_clean_latent(clean, cache, input)
        state = self.FinalState(clean_latent=clean, autoregressive_index=autoregressive_index, cache=cache, input=input)
        return self.transformer.unpatchify_of(clean, cache), state

    @torch.no_grad()
    def finalize(self, final_state: FinalState) -> None:
        """Write a generated chunk into its rollout's KV cache, noised to `context_noise`."""
        cache, latent, level = final_state.cache, final_state.clean_latent, self.config.context_noise
        timestep = self._timestep_of_context(latent.device)
        if level > 0:
            latent = self.scheduler.add_noise(latent, timestep, rng=cache.rng)
        self.transformer.finalize_kv_cache(noisy_latent=latent, timestep=timestep, cache=cache, input=final_state.input)
        cache.finalize(final_state.autoregressive_index)

    def _predict_flow(
        self, cache: TransformerAutoregressiveCache, input: Any, noisy_latent: Tensor, timestep: Tensor
    ) -> Tensor:
        return self.transformer.predict_flow(noisy_latent=noisy_latent, timestep=timestep, cache=cache, input=input)

    def _timestep_of_context(self, device: torch.device) -> Tensor:
        """`context_noise` as a tensor, the same at each chunk."""
        if self._context_timestep is None or self._context_timestep.device != device:
            with torch.inference_mode(False):
                self._context_timestep = torch.full((), float(self.config.context_noise), device=device)
        return self._context_timestep

    def _initial_noise(self, cache: TransformerAutoregressiveCache) -> Tensor:
        like = torch.empty(0, dtype=self.dtype, device=self.device)
        shape = self.transformer.latent_shape_of(cache)
        if not self.config.noise_in_unpatchified_shape:
            return draw_noise(shape, like, cache.rng)
        picture = self.transformer.unpatchify_of(like.new_empty(shape), cache)
        whole = cache.rng.generator if isinstance(cache.rng, SharedNoise) else cache.rng
        return self.transformer.patchify_and_maybe_split_cp(draw_noise(picture.shape, like, whole))


def _generator(seed: int, device: torch.device | str) -> torch.Generator:
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < _MAX_SEED:
        raise ValueError(f"seed must be a whole number in [0, 2**63), got {seed!r}")
    return torch.Generator(device=device).manual_seed(seed)
