"""A rollout's state in a Wan transformer: a KV cache per prompt, the chunk's rotation, and its image control."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor

from flashdreams.core.attention import (
    KVCacheRelativeRotaryPositionEmbedding3D,
    RopeTable,
    RotaryEmbedding,
    rope_table,
)
from flashdreams.core.distributed.context_parallel import group_size, split_inputs_cp
from flashdreams.infra.cuda_graph import CUDAGraphWrapper
from flashdreams.infra.runtime.state import copy_state
from flashdreams.recipes.patchified_transformer import SizedCache
from flashdreams.recipes.wan.transformer.image_control import ImageConditions
from flashdreams.recipes.wan.transformer.impl.modules import CrossAttnCache, KeysValues, overwrite
from flashdreams.recipes.wan.transformer.impl.network import WanDiTNetworkCache


class RopeTables:
    """The rotation of the present chunk; its tables keep their storage, so that a captured graph finds them."""

    def __init__(self, rope: RotaryEmbedding, group: Any = None) -> None:
        """`group`: the processes among which every chunk's tokens are shared."""
        self._rope, self._group = rope, group
        frames, shares = rope.frame_tokens, group_size(group)
        held = 0
        if isinstance(rope, KVCacheRelativeRotaryPositionEmbedding3D):
            held = rope.sink_size_t + rope.window_size_t
        with torch.inference_mode(False):  # else they could not be written outside inference mode
            self._query_pairs, self._key_pairs = (
                torch.zeros(length * frames // shares, 1, rope.head_dim // 2, 2, device=rope.device)
                for length in (rope.len_t, held)
            )
        self._queries: RopeTable | None = None
        self._keys: RopeTable | None = None

    def turn_to(self, chunk: int) -> Tensor:
        """Make the tables of chunk `chunk`, and return the angles of its tokens."""
        angles = self._rope.shift_t_queries(chunk)
        own = split_inputs_cp(angles, 0, self._group)
        self._queries = self._written(self._query_pairs, own)
        if isinstance(self._rope, KVCacheRelativeRotaryPositionEmbedding3D):
            of_chunks = self._rope.shift_t_keys(chunk).unflatten(0, (-1, len(angles)))
            self._keys = self._written(self._key_pairs, split_inputs_cp(of_chunks, 1, self._group).flatten(0, 1))
        return own

    @property
    def tables(self) -> RopeTable | tuple[RopeTable, RopeTable]:
        """The `rope_freqs` of `WanDiTNetwork.forward`."""
        if self._queries is None:
            raise RuntimeError("cache.start(autoregressive_index) must come before the first step of a chunk")
        return self._queries if self._keys is None else (self._queries, self._keys)

    def take_state(self, other: RopeTables) -> None:
        """Become a copy of `other` in the present tables; raises ValueError where their sizes differ."""
        pairs = (self._query_pairs, other._query_pairs), (self._key_pairs, other._key_pairs)
        if any(mine.shape != theirs.shape or mine.device != theirs.device for mine, theirs in pairs):
            raise ValueError(f"tables must be of {list(self._query_pairs.shape)}, got {list(other._query_pairs.shape)}")
        for mine, theirs in pairs:
            mine.copy_(theirs)
        self._queries = self._rows(self._query_pairs, other._queries)
        self._keys = self._rows(self._key_pairs, other._keys)

    def _rows(self, pairs: Tensor, table: RopeTable | None) -> RopeTable | None:
        return None if table is None else RopeTable(pairs[: len(table.pairs)], table.interleaved)

    def _written(self, pairs: Tensor, angles: Tensor) -> RopeTable:
        """Return the table of `angles` in the first rows of `pairs`."""
        new = rope_table(angles, self._rope.interleaved)
        return RopeTable(pairs[: len(angles)].copy_(new.pairs), new.interleaved)


class Branch:
    """One prompt's side of a rollout, and the function of a step once the window is full."""

    def __init__(self, network: Any, steady: Callable[..., Tensor]) -> None:
        """`network` is the network's cache; `steady(tokens, timesteps, ...)` a step on slots that were chosen before, a
        `CUDAGraphWrapper` on a GPU."""
        self.network, self.steady = network, steady
        self.next_prompt: Sequence[CrossAttnCache] | Sequence[KeysValues] | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A copy of the state; the weights that `steady` is bound to are shared."""
        duplicate = object.__new__(type(self))
        memo[id(self)] = duplicate
        duplicate.__dict__ = {name: copy_state(value, memo) for name, value in vars(self).items()}
        return duplicate

    def take_next_prompt(self) -> None:
        """Write a waiting prompt over the present one, in its storage."""
        if self.next_prompt is not None:
            for block, new in zip(self.network.block_caches, self.next_prompt, strict=True):
                overwrite(block.cross_attn, new)
            self.next_prompt = None

    def restart(self) -> None:
        """Empty the KV caches; buffers and captured graph stay."""
        for cache in self.network.kv_caches:
            cache.reset()


@dataclass(kw_only=True, eq=False)
class Wan21TransformerCache(SizedCache):
    """All state of one rollout; it refers to the weights but changes nothing there."""

    network_cache: WanDiTNetworkCache
    """Keys and values of the prompt's side."""
    network_cache_uncond: WanDiTNetworkCache | None = None
    """Keys and values of the negative prompt's side, with guidance."""
    rope_adapter: RotaryEmbedding
    """Positions of the tokens."""
    rope_freqs: Tensor | None = None
    """Angles `[L, 1, 1, head_dim]` of the present chunk; None before the first."""
    autoregressive_index: int = -1
    """The present chunk; -1 before the first."""
    rotation: RopeTables
    """The same angles as the tables that the network reads."""
    branches: list[Branch] = field(default_factory=list)
    """The prompt's side, then that of the negative prompt."""
    conditions: ImageConditions | None = None
    """The image control of the present chunk, in the image modes."""
    image_embeddings: Tensor | None = None
    """Embeddings of the picture, for prompts that come later."""

    def start(self, autoregressive_index: int) -> None:
        """Turn to chunk `autoregressive_index`: its rotation, and the prompts that wait for it."""
        if autoregressive_index != self.autoregressive_index:
            for branch in self.branches:
                branch.take_next_prompt()
        self.rope_freqs = self.rotation.turn_to(self.place_of(autoregressive_index))
        self.autoregressive_index = autoregressive_index
        if self.conditions is not None:
            self.conditions.present = None

    def place_of(self, autoregressive_index: int) -> int:
        """Return the index that a chunk has in the KV cache and in rotations; here its own."""
        return autoregressive_index

    def restart(self) -> None:
        """Make this the cache of a new rollout of the same size: nothing is allocated, and graphs stay captured."""
        for branch in self.branches:
            branch.restart()
            branch.take_next_prompt()
        self.autoregressive_index, self.rope_freqs, self.rng = -1, None, None

    @property
    def fill(self) -> float:
        """Share of the window that holds tokens, 0 to 1."""
        return self.branches[0].network.fill

    @property
    def nbytes(self) -> int:
        """Bytes of all KV buffers."""
        return sum(branch.network.nbytes for branch in self.branches)


def steady_step(step: Callable[..., Tensor], captured: bool, warmup_iters: int) -> Any:
    """Return `step` as a CUDA graph where it is to be `captured`."""
    return CUDAGraphWrapper(step, warmup_iters) if captured else step
