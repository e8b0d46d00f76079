"""A transformer and a scheduler as one diffusion model, which denoises one chunk after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from flashdreams.core.distributed import agree_on
from flashdreams.core.distributed.context_parallel import group_size
from flashdreams.core.distributed.noise import SharedNoise
from flashdreams.infra.config.base import InstantiateConfig
from flashdreams.infra.diffusion.scheduler.base import (
    FlowPredictor,
    NoiseOfRows,
    NoiseSource,
    Scheduler,
    SchedulerConfig,
    draw_noise,
)
from flashdreams.infra.diffusion.transformer.base import (
    Transformer,
    TransformerAutoregressiveCache,
    TransformerCacheT,
    TransformerConfig,
)

_MAX_SEED = 2**63
_CacheT = TypeVar("_CacheT", bound=TransformerAutoregressiveCache)
"""`TransformerCacheT` of the nested class, which needs a variable of its own."""


@dataclass(kw_only=True)
class DiffusionModelConfig(InstantiateConfig):
    """Config of `DiffusionModel`."""

    _target: type = field(default_factory=lambda: DiffusionModel)

    transformer: TransformerConfig
    """The network that predicts the flow."""
    scheduler: SchedulerConfig
    """The sampler."""
    seed: int | None = None
    """Seed of `DiffusionModel.rng`, and so of every rollout without one of its own; None draws a new one for each."""
    context_noise: int = 0
    """Timestep to which a finished chunk is noised before it enters the KV cache; 0 keeps it clean."""
    noise_in_unpatchified_shape: bool = False
    """Let the scheduler work on unpatchified latents, so that all of its noise is drawn in their shape: this follows
    the random sequence of an implementation that patchifies inside its network."""


class DiffusionModel(nn.Module, Generic[TransformerCacheT]):
    """Weights and tables of a diffusion model; a rollout's state is in its transformer cache.

    Noise is drawn from the cache's `rng` where it has one, else from `DiffusionModel.rng`:

    - Called directly, with a cache of `transformer.initialize_autoregressive_cache`, the model draws from its own
      `rng`, which goes on from chunk to chunk and from rollout to rollout.
    - `seed_rollout` gives a rollout a generator of its own, which starts where `rng` stands or from a seed. The
      pipeline does so for each of its rollouts: interleaved in any order, each is the same as alone.
    """

    transformer: Transformer[TransformerCacheT]
    """The network that predicts the flow."""
    scheduler: Scheduler
    """The sampler."""

    @dataclass(kw_only=True)
    class FinalState(Generic[_CacheT]):
        """A generated chunk, as `finalize` needs it."""

        clean_latent: Tensor
        """Patchified, this rank's share."""
        autoregressive_index: int
        """Index of the chunk."""
        cache: _CacheT
        """The rollout that it belongs to."""
        input: Any = None
        """Patchified input of the chunk."""

    def __init__(self, config: DiffusionModelConfig) -> None:
        super().__init__()
        if config.context_noise < 0:
            raise ValueError(f"context_noise must be a timestep of at least 0, got {config.context_noise}")
        if config.seed is not None:
            _check_seed(config.seed)
        self.config = config
        self.transformer = config.transformer.setup()
        self.scheduler = config.scheduler.setup()
        self._context_timestep: Tensor | None = None
        self._rng: torch.Generator | None = None

    @property
    def device(self) -> torch.device:
        """Device of the latents."""
        return self.transformer.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the latents."""
        return self.transformer.dtype

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of one chunk's patchified latent on this rank."""
        return self.transformer.latent_shape

    @property
    def rng(self) -> torch.Generator | None:
        """The generator of rollouts without one of their own, on the model's device; None when `seed` is None.

        It is made of the seed anew when the model moves to another device.
        """
        if self.config.seed is None:
            return None
        if self._rng is None or self._rng.device != torch.empty(0, device=self.device).device:
            self._rng = _generator(self.config.seed, self.device)
        return self._rng

    def seed_rollout(self, cache: TransformerAutoregressiveCache, seed: int | None = None) -> None:
        """Give the rollout a random generator of its own.

        `seed=None` starts it where `rng` stands, and draws a seed from torch's global generator when there is no `rng`.
        Processes that share the tokens take the seed of the first of them. Raises ValueError for a seed outside
        `[0, 2**63)`.
        """
        group = self.transformer.cp_group
        if seed is None and self.rng is not None:
            own = self.rng.clone_state()
        else:
            seed = int(torch.randint(_MAX_SEED - 1, (), dtype=torch.int64, device="cpu")) if seed is None else seed
            own = _generator(seed if group_size(group) == 1 else agree_on(seed, group, self.device), self.device)
        cache.rng = own if group_size(group) == 1 else SharedNoise(own, group)

    @torch.no_grad()
    def generate(
        self, autoregressive_index: int, cache: TransformerCacheT, input: Any = None
    ) -> tuple[Tensor, FinalState[TransformerCacheT]]:
        """Denoise chunk `autoregressive_index`; returns its unpatchified clean latent, and the state for `finalize`."""
        if input is not None:
            input = self.transformer.patchify_and_maybe_split_cp(input)
        cache.start(autoregressive_index)
        clean = self._sample(cache, input)
        clean = self.transformer.postprocess_clean_latent(clean, cache, input)
        state = self.FinalState(clean_latent=clean, autoregressive_index=autoregressive_index, cache=cache, input=input)
        return self.transformer.unpatchify_of(clean, cache), state

    @property
    def takes_rows(self) -> bool:
        """True where `generate_rows` can be called: a model that samples in a way of its own takes one rollout."""
        return self.transformer.takes_rows and type(self)._sample is DiffusionModel._sample

    @torch.no_grad()
    def generate_rows(
        self, rows: Sequence[tuple[int, TransformerCacheT, Any]]
    ) -> list[tuple[Tensor, FinalState[TransformerCacheT]]]:
        """Return `generate(*row)` of several rollouts of one size, denoised as the rows of one batch.

        Only with `takes_rows`. Each row has its own noise; its latent is that of `generate` but for
        the rounding of matrix products, which may depend on the number of rows.
        """
        transformer, caches = self.transformer, [cache for _, cache, _ in rows]
        inputs = [None if each is None else transformer.patchify_and_maybe_split_cp(each) for _, _, each in rows]
        for index, cache, _ in rows:
            cache.start(index)
        one = transformer.latent_shape_of(caches[0])
        noise = NoiseOfRows([self._noise_source(cache) for cache in caches])
        clean = self._sampled(transformer.rows(caches, inputs), caches[0], (len(rows) * one[0], *one[1:]), noise)
        found = []
        for (index, cache, _), input, own in zip(rows, inputs, clean.chunk(len(rows)), strict=True):
            own = transformer.postprocess_clean_latent(own, cache, input)
            state = self.FinalState(clean_latent=own, autoregressive_index=index, cache=cache, input=input)
            found.append((transformer.unpatchify_of(own, cache), state))
        return found

    @torch.no_grad()
    def finalize(self, final_state: FinalState[TransformerCacheT]) -> None:
        """Write a generated chunk into its rollout's KV cache, noised to `context_noise`."""
        cache, latent = final_state.cache, final_state.clean_latent
        timestep = self._timestep_of_context(latent.device)
        if self.config.context_noise > 0:
            latent = self._with_context_noise(latent, timestep, cache)
        self.transformer.finalize_kv_cache(noisy_latent=latent, timestep=timestep, cache=cache, input=final_state.input)
        cache.finalize(final_state.autoregressive_index)

    def _sample(self, cache: TransformerCacheT, input: Any) -> Tensor:
        """Return the patchified clean latent of a chunk."""
        predict_flow = partial(self._predict_flow, cache, input)
        return self._sampled(predict_flow, cache, self.transformer.latent_shape_of(cache), self._noise_source(cache))

    def _sampled(
        self, predict_flow: FlowPredictor, cache: TransformerCacheT, shape: tuple[int, ...], rng: NoiseSource | None
    ) -> Tensor:
        """Return a patchified clean latent of `shape`, for a rollout or a batch of rollouts of the size of `cache`."""
        like = torch.empty(0, dtype=self.dtype, device=self.device)
        if not self.config.noise_in_unpatchified_shape:
            return self.scheduler.sample(draw_noise(shape, like, rng), predict_flow, rng=rng)
        patchify = self.transformer.patchify_and_maybe_split_cp
        unpatchify = partial(self.transformer.unpatchify_of, cache=cache)

        def predict_unpatchified(noisy_latent: Tensor, timestep: Tensor) -> Tensor:
            return unpatchify(predict_flow(patchify(noisy_latent), timestep))

        rng = _of_whole_sequence(rng)
        noise = draw_noise(unpatchify(like.new_empty(shape)).shape, like, rng)
        return patchify(self.scheduler.sample(noise, predict_unpatchified, rng=rng))

    def _with_context_noise(self, latent: Tensor, timestep: Tensor, cache: TransformerCacheT) -> Tensor:
        rng = self._noise_source(cache)
        if not self.config.noise_in_unpatchified_shape:
            return self.scheduler.add_noise(latent, timestep, rng=rng)
        whole = self.transformer.unpatchify_of(latent, cache)
        return self.transformer.patchify_and_maybe_split_cp(
            self.scheduler.add_noise(whole, timestep, rng=_of_whole_sequence(rng))
        )

    def _noise_source(self, cache: TransformerAutoregressiveCache) -> NoiseSource | None:
        group = self.transformer.cp_group
        if cache.rng is None and group_size(group) > 1:
            if self.rng is not None:
                return SharedNoise(self.rng, group)
            self.seed_rollout(cache)  # torch's global generators of the processes differ
        return self.rng if cache.rng is None else cache.rng

    def _predict_flow(self, cache: TransformerCacheT, input: Any, noisy_latent: Tensor, timestep: Tensor) -> Tensor:
        return self.transformer.predict_flow(noisy_latent=noisy_latent, timestep=timestep, cache=cache, input=input)

    def _timestep_of_context(self, device: torch.device) -> Tensor:
        """Return `context_noise` as a tensor, the same at each chunk."""
        if self._context_timestep is None or self._context_timestep.device != device:
            with torch.inference_mode(False):
                self._context_timestep = torch.full((), float(self.config.context_noise), device=device)
        return self._context_timestep


def _of_whole_sequence(rng: NoiseSource | None) -> torch.Generator | NoiseOfRows | None:
    """Return the generator that all processes of a group hold alike, to draw noise for all of their tokens."""
    return rng.generator if isinstance(rng, SharedNoise) else rng


def _generator(seed: int, device: torch.device | str) -> torch.Generator:
    _check_seed(seed)
    return torch.Generator(device=device).manual_seed(seed)


def _check_seed(seed: int) -> None:
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < _MAX_SEED:
        raise ValueError(f"seed must be a whole number in [0, 2**63), got {seed!r}")
