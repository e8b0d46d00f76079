"""Krea Realtime's transformer: the past is a few clean latents, read again from scratch for every chunk."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from flashdreams.core.attention import BlockKVCache, RopeTable, apply_rope_freqs
from flashdreams.core.distributed.context_parallel import group_size
from flashdreams.recipes.wan import (
    Wan21Transformer,
    Wan21TransformerCache,
    Wan21TransformerConfig,
    WanDiTNetwork14BConfig,
    WanDiTNetworkConfig,
)
from flashdreams.recipes.wan.transformer.impl.caches import BlockCache
from flashdreams.recipes.wan.transformer.reading import read_again, table_of


@dataclass(kw_only=True)
class KreaTransformerConfig(Wan21TransformerConfig):
    """Config of `KreaTransformer`."""

    _target: type = field(default_factory=lambda: KreaTransformer)

    network: WanDiTNetworkConfig = field(default_factory=WanDiTNetwork14BConfig)
    """Sizes and options of the network."""
    len_t: int = 3
    """Latent frames per chunk."""
    context_size_t: int = 3
    """Newest clean latents that a chunk attends to."""
    window_size_t: int = 6
    """Latent frames in the KV cache: those of the context and the present chunk."""
    keep_first_frame: bool = False
    """The rollout's first latent stays the first of the context; else a picture is encoded again for that place."""
    past_weight: float = 1.0
    """Factor on the attention to the context, its first latent aside; 1 changes nothing, and others are slower."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.context_size_t < self.len_t or self.context_size_t % self.len_t:
            raise ValueError(
                f"context_size_t must be a multiple of len_t = {self.len_t}, at least 1 chunk, "
                f"got {self.context_size_t}"
            )
        if self.window_size_t != self.context_size_t + self.len_t or self.sink_size_t:
            raise ValueError(
                f"window_size_t must be context_size_t + len_t = {self.context_size_t + self.len_t} and sink_size_t 0, "
                f"got {self.window_size_t} and {self.sink_size_t}"
            )
        if not 0 < self.past_weight < math.inf:
            raise ValueError(f"past_weight must be a finite number above 0, got {self.past_weight}")
        if self.guidance_scale > 1 or self.image_modes is not None or not self.network.apply_rope_before_kvcache:
            raise ValueError(
                "Krea Realtime takes no guidance_scale above 1, no image mode, and rotates keys before they are cached "
                "(apply_rope_before_kvcache)"
            )

    @property
    def context_chunks(self) -> int:
        """Chunks of the context."""
        return self.context_size_t // self.len_t


@dataclass(kw_only=True, eq=False)
class KreaTransformerCache(Wan21TransformerCache):
    """All state of one rollout. Its KV cache holds the context and the present chunk, at places counted from 0."""

    context_chunks: int = 1
    """Chunks of a full context."""
    clean: Tensor | None = None
    """Newest clean latents `[*batch, T, C, H, W]`, at most a full context; None before the first chunk is finished."""
    first: Tensor | None = None
    """The rollout's first latent `[*batch, 1, C, H, W]`, once it is clean."""
    encoded: Tensor | None = None
    """A picture's latent `[*batch, 1, C, H, W]`, which `finalize_kv_cache` takes for the first of the context."""

    def place_of(self, autoregressive_index: int) -> int:
        """Return the place of a chunk: right after the context."""
        return min(autoregressive_index, self.context_chunks)

    def restart(self) -> None:
        """Make this the cache of a new rollout of the same size."""
        super().restart()
        self.clean, self.first, self.encoded = None, None, None


class KreaTransformer(Wan21Transformer):
    """Wan 2.1's transformer against keys and values that are made from clean latents for every chunk.

    `finalize_kv_cache` makes those of the next chunk's context in one pass at timestep 0, causal by chunks, with the
    prompt of the chunk that it finishes. While there are more finished latents than a context holds, its first latent
    is `cache.encoded`, or the rollout's first with `keep_first_frame`; without either it is the one that was denoised.
    """

    config: KreaTransformerConfig
    cache_type = KreaTransformerCache

    def set_context_parallel_group(self, group: Any) -> None:
        """Share every chunk's tokens among the processes of `group`; raises ValueError with a `past_weight`."""
        if group_size(group) > 1 and self.config.past_weight != 1:
            raise ValueError(f"past_weight must be 1 with several processes, got {self.config.past_weight}")
        super().set_context_parallel_group(group)

    @torch.no_grad()
    def initialize_autoregressive_cache(self, **context: Any) -> KreaTransformerCache:
        """See `Wan21Transformer`."""
        cache = super().initialize_autoregressive_cache(**context)
        assert isinstance(cache, KreaTransformerCache)
        cache.context_chunks = self.config.context_chunks
        return cache

    @torch.no_grad()
    def predict_flow(
        self,
        noisy_latent: Tensor,
        timestep: Tensor,
        cache: Wan21TransformerCache,
        input: Any = None,
        network_extra_kwargs: dict[str, Any] | None = None,
    ) -> Tensor:
        """Return the flow of the present chunk against its context."""
        place = cache.place_of(cache.autoregressive_index)
        cache.network_cache.before_update(place)  # here, so that a chunk's first step finds the sizes of a full window
        if self.config.past_weight == 1 or place == 0:
            return super().predict_flow(noisy_latent, timestep, cache, input, network_extra_kwargs)
        flow = self._weighted_flow(noisy_latent, timestep, cache, place)
        cache.network_cache.after_update(place)
        return flow

    @torch.no_grad()
    def finalize_kv_cache(
        self, noisy_latent: Tensor, timestep: Tensor, cache: Wan21TransformerCache, input: Any = None
    ) -> None:
        """Read the next chunk's context, which ends with the clean chunk `noisy_latent`, into an emptied KV cache."""
        assert isinstance(cache, KreaTransformerCache)
        latents = self.unpatchify_of(noisy_latent, cache)
        if cache.autoregressive_index == 0:
            cache.first = latents[..., :1, :, :, :].clone()
        latents = latents if cache.clean is None else torch.cat([cache.clean, latents], -4)
        cache.clean = latents[..., -self.config.context_size_t :, :, :, :].clone()
        context = cache.clean
        if cache.autoregressive_index >= self.config.context_chunks:
            first = cache.first if self.config.keep_first_frame else cache.encoded
            if first is not None:
                context = torch.cat([first.to(context), context[..., 1:, :, :, :]], -4)
        chunks = context.split(self.config.len_t, -4)
        for branch in cache.branches:
            branch.restart()
        tokens = torch.cat([self.patchify_and_maybe_split_cp(chunk) for chunk in chunks], -2)
        read_again(self, cache, tokens, range(len(chunks)), _write)

    def _weighted_flow(self, x: Tensor, timestep: Tensor, cache: Wan21TransformerCache, place: int) -> Tensor:
        """Return the flow with a weighted past: a factor on attention is its logarithm added to the scores."""
        length, table = x.shape[-2], table_of(self, cache, range(place, place + 1))
        bias = torch.zeros((place + 1) * length, dtype=x.dtype, device=x.device)
        bias[length // self.config.len_t : place * length] = math.log(self.config.past_weight)
        layers = [
            BlockCache(
                _WeightedAttention(of_block.self_attn, table, bias, block.self_attn.attn_op),  # type: ignore[arg-type, union-attr]
                of_block.cross_attn,
            )
            for block, of_block in zip(self.network.blocks, cache.network_cache.block_caches, strict=True)
        ]
        timesteps: Any = self._modulation(timestep, None)
        return self.network.run_blocks(x, timesteps.reshape(-1) if isinstance(timesteps, Tensor) else timesteps, layers)


@dataclass
class _WeightedAttention:
    """One layer's self-attention of the present chunk, with `bias` added to the scores of the cached keys."""

    cache: BlockKVCache
    table: RopeTable
    bias: Tensor
    attention: Callable[..., Tensor]

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        self.cache.update(apply_rope_freqs(k, self.table), v)
        q = apply_rope_freqs(q, self.table)
        return self.attention(q, self.cache.cached_k(), self.cache.cached_v(), self.bias.view(1, 1, -1))


def _write(cache: BlockKVCache, chunk: int, k: Tensor, v: Tensor) -> None:
    cache.before_update(chunk)
    cache.update(k, v)
    cache.after_update(chunk)
