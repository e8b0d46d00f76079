"""Several rollouts as the rows of one batch: linear layers run on all rows, attention on each row's own KV cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from flashdreams.core.attention import BlockKVCache, apply_rope_freqs
from flashdreams.recipes.wan.transformer.impl.caches import BlockCache, CrossAttnCache, KeysValues, WanDiTNetworkCache
from flashdreams.recipes.wan.transformer.impl.modules import Block, MultiHeadAttention, Rope
from flashdreams.recipes.wan.transformer.impl.network import WanDiTNetwork


class NetworkRow(NamedTuple):
    """One rollout of a batch, at its own chunk."""

    cache: WanDiTNetworkCache
    rotation: Rope
    """The `rope_freqs` of the chunk, as tables."""
    chunk: int
    """Index of the chunk."""


class NetworkRows:
    """A `WanDiTNetwork` on the present chunks of several rollouts, of one size and at any places in time."""

    def __init__(self, network: WanDiTNetwork, rows: Sequence[NetworkRow]) -> None:
        """Make it once for all steps of the chunks: the rows' prompts are copied together here."""
        self._network, self._rows = network, rows
        layers: Any = zip(network.blocks, *(row.cache.block_caches for row in rows), strict=True)
        self._caches = [_together(block, caches, rows) for block, *caches in layers]

    @staticmethod
    def takes(network: WanDiTNetwork) -> bool:
        """Return True for a network of plain blocks, whose only state between chunks is the KV cache."""
        return network.takes_modulations and all(type(block) is Block for block in network.blocks)

    def __call__(self, x: Tensor, timestep: Tensor) -> Tensor:
        """Return the network's answer to tokens `x [rows, L, D]` at one `timestep` for all."""
        for row in self._rows:
            row.cache.before_update(row.chunk)
        found = self._network.run_blocks(x, self._network.modulation(timestep), self._caches)
        for row in self._rows:
            row.cache.after_update(row.chunk)
        return found


class _RowsMemory:
    """Self-attention of a block over the KV cache of each row: an `AttentionOverMemory`."""

    def __init__(self, attention: MultiHeadAttention, rows: Sequence[tuple[BlockKVCache, Rope]]) -> None:
        self._attention, self._rows = attention, rows

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """See `AttentionOverMemory`; every tensor is split into the rows' shares of the batch."""
        shares = [x.chunk(len(self._rows)) for x in (q, k, v)]
        return torch.cat([self._attend(q, k, v, *row) for q, k, v, row in zip(*shares, self._rows, strict=True)])

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, cache: BlockKVCache, rotation: Rope) -> Tensor:
        of_queries, of_cached_keys = rotation if isinstance(rotation, tuple) else (rotation, None)
        cache.update(k if of_cached_keys is not None else apply_rope_freqs(k, of_queries, interleaved=True), v)
        keys = cache.ring_k()
        if of_cached_keys is not None:
            keys = apply_rope_freqs(keys, of_cached_keys, interleaved=True)
        return self._attention.attn_op(apply_rope_freqs(q, of_queries, interleaved=True), keys, cache.ring_v())


def _together(block: Block, caches: Sequence[BlockCache], rows: Sequence[NetworkRow]) -> BlockCache:
    own = [(cache.self_attn, row.rotation) for cache, row in zip(caches, rows, strict=True)]
    prompts = [cache.cross_attn.text for cache in caches]
    keys, values = torch.cat([one.cached_k() for one in prompts]), torch.cat([one.cached_v() for one in prompts])
    memory = _RowsMemory(block.self_attn, own)
    return BlockCache(memory, CrossAttnCache(KeysValues(keys, values)))  # type: ignore[arg-type]
