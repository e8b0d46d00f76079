"""Rolling Forcing's transformer: several chunks at once against an anchor and the newest clean chunks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from flashdreams.core.attention import BlockKVCache, RopeTable, apply_rope_freqs
from flashdreams.recipes.wan import Wan21Transformer, Wan21TransformerCache, Wan21TransformerConfig
from flashdreams.recipes.wan.transformer.impl.caches import BlockCache
from flashdreams.recipes.wan.transformer.reading import table_of


@dataclass(kw_only=True)
class RollingForcingTransformerConfig(Wan21TransformerConfig):
    """Config of `RollingForcingTransformer`."""

    _target: type = field(default_factory=lambda: RollingForcingTransformer)

    steps: int = 5
    """Denoising steps of a chunk, and so the chunks that a full window denoises together."""
    len_t: int = 3
    """Latent frames per chunk."""
    window_size_t: int = 21
    """Latent frames that a pass attends to at most, its own and the anchor included; as many are cached after the
    anchor."""
    sink_size_t: int = 3
    """The anchor: the first chunk of a rollout, whose keys are cached unrotated."""
    compile_network: bool = False
    """Must be False: sizes change while the window grows, and no step is compiled."""
    use_cuda_graph: bool = False
    """Must be False, see `compile_network`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if self.sink_size_t != self.len_t:
            raise ValueError(f"sink_size_t must be a chunk, {self.len_t} latents, got {self.sink_size_t}")
        if self.window_size_t % self.len_t or self.window_size_t < (self.steps + 1) * self.len_t:
            least = (self.steps + 1) * self.len_t
            raise ValueError(
                f"window_size_t must be a multiple of len_t = {self.len_t} and hold the anchor and {self.steps} "
                f"chunks, {least} latents, got {self.window_size_t}"
            )
        if self.guidance_scale > 1 or self.image_modes is not None or not self.network.apply_rope_before_kvcache:
            raise ValueError(
                "Rolling Forcing takes no guidance_scale above 1, no image mode and no network that caches all keys "
                "unrotated (apply_rope_before_kvcache)"
            )
        if self.compile_network or self.use_cuda_graph:
            raise ValueError("compile_network and use_cuda_graph must be False: no step of this model is compiled")

    @property
    def joint_chunks(self) -> int:
        """Chunks that a step denoises together."""
        return self.steps


@dataclass(kw_only=True, eq=False)
class RollingForcingCache(Wan21TransformerCache):
    """All state of one rollout, with the chunks that are part-denoised."""

    noisy: Tensor | None = None
    """Tokens `[*batch, chunks L, D]` of the window after its newest pass, oldest chunk first, each as noisy as its next
    step wants; None before the first pass and after the last."""
    chunks: int | None = None
    """Chunks of the whole rollout, at whose end the window shrinks; None for one without an end."""

    def restart(self) -> None:
        """Make this the cache of a new rollout of the same size."""
        super().restart()
        self.noisy, self.chunks = None, None


class RollingForcingTransformer(Wan21Transformer):
    """Wan 2.1's transformer over a window of chunks, each at a timestep of its own.

    The first chunk of the window is the one that `cache.start` turned to. All clean chunks before it are finalized:
    a pass over the window reads the KV cache and never writes it. Positions are absolute, the anchor's aside: its keys
    are rotated as if it lay right before the oldest other chunk that is attended to.
    """

    config: RollingForcingTransformerConfig
    cache_type = RollingForcingCache

    @torch.no_grad()
    def predict_flow(
        self,
        noisy_latent: Tensor,
        timestep: Tensor,
        cache: Wan21TransformerCache,
        input: Any = None,
        network_extra_kwargs: dict[str, Any] | None = None,
    ) -> Tensor:
        """Return the flow of a window `noisy_latent [*batch, chunks L, D]`; `timestep` is one or one per chunk."""
        if input is not None or network_extra_kwargs:
            raise ValueError("input and network_extra_kwargs must be left out: this model dreams from text alone")
        chunks, rest = divmod(noisy_latent.shape[-2], self.latent_shape_of(cache)[-2])
        if rest or not 1 <= chunks <= self.config.steps or timestep.numel() not in (1, chunks):
            raise ValueError(
                f"noisy_latent must be 1 to {self.config.steps} whole chunks and timestep one number or one for each, "
                f"got {list(noisy_latent.shape)} and {list(timestep.shape)}"
            )
        first = cache.autoregressive_index
        own, room = range(first, first + chunks), self._window - chunks - 1
        if first == 0:  # Nothing is finished yet.
            return self._run(noisy_latent, timestep, cache, own, range(0), None)
        clean = range(max(1, first - room), first)
        return self._run(noisy_latent, timestep, cache, own, clean, clean.start - 1)

    @torch.no_grad()
    def finalize_kv_cache(
        self, noisy_latent: Tensor, timestep: Tensor, cache: Wan21TransformerCache, input: Any = None
    ) -> None:
        """Write the finished chunk into the KV cache, read among the clean chunks before it, at their own places."""
        index = cache.autoregressive_index
        oldest = max(0, index + 1 - self._window)
        anchor = 0 if index > 0 and oldest == 0 else None
        cache.network_cache.before_update(index)
        self._run(noisy_latent, timestep, cache, range(index, index + 1), range(max(1, oldest), index), anchor, True)
        cache.network_cache.after_update(index)

    @property
    def _window(self) -> int:
        """Chunks that a pass attends to at most."""
        return self.config.window_size_t // self.config.len_t

    def _run(
        self,
        tokens: Tensor,
        timestep: Tensor,
        cache: Wan21TransformerCache,
        own: range,
        clean: range,
        anchor: int | None,
        writes: bool = False,
    ) -> Tensor:
        """Return the flow of the chunks `own`, which attend to each other, to cached chunks `clean`, and to the anchor
        as if it were chunk `anchor`; None leaves it out."""
        table = table_of(self, cache, own)
        of_anchor = None if anchor is None else table_of(self, cache, range(anchor, anchor + 1))
        layers = [
            BlockCache(
                _WindowAttention(
                    past=of_block.self_attn,
                    table=table,
                    clean=clean,
                    anchor=of_anchor,
                    written=own.start if writes else None,
                    attention=block.self_attn.attn_op,  # type: ignore[union-attr, arg-type]
                ),
                of_block.cross_attn,
            )
            for block, of_block in zip(self.network.blocks, cache.network_cache.block_caches, strict=True)
        ]
        timesteps = self._modulation(timestep, None)
        return self.network.run_blocks(
            tokens, timesteps.reshape(-1) if isinstance(timesteps, Tensor) else timesteps, layers
        )


@dataclass
class _WindowAttention:
    """One layer's self-attention of the chunks of a pass."""

    past: BlockKVCache
    """Keys and values of the finished chunks."""
    table: RopeTable
    """Rotation of the pass's own tokens."""
    clean: range
    """Cached chunks that are attended to, the anchor aside."""
    anchor: RopeTable | None
    """Rotation of the anchor; None where it is not attended to."""
    written: int | None
    """The chunk that the pass's keys and values are cached as; None caches nothing."""
    attention: Callable[[Tensor, Tensor, Tensor], Tensor]

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Unrotated `q`, `k`, `v [..., L, H, D]` -> answers `[..., L, H, D]`."""
        rotated = apply_rope_freqs(k, self.table)
        if self.written is not None:
            self.past.update(k if self.written == 0 else rotated, v)
        seen = [self.past.chunk(chunk) for chunk in self.clean]
        if self.anchor is not None:
            keys, values = self.past.chunk(0)
            seen.insert(0, (apply_rope_freqs(keys, self.anchor), values))
        seen.append((rotated, v))
        keys, values = (torch.cat(parts, -3) if len(seen) > 1 else parts[0] for parts in zip(*seen, strict=True))
        return self.attention(apply_rope_freqs(q, self.table), keys, values)
