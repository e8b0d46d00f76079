"""Reading finished chunks again: one pass at timestep 0, causal by chunks, that writes their keys and values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from flashdreams.core.attention import BlockKVCache, RopeTable, apply_rope_freqs, rope_table
from flashdreams.core.distributed.context_parallel import split_inputs_cp
from flashdreams.recipes.wan.transformer.impl.caches import BlockCache
from flashdreams.recipes.wan.transformer.rollout_cache import Wan21TransformerCache
from flashdreams.recipes.wan.transformer.wan21 import Wan21Transformer

WriteChunk = Callable[[BlockKVCache, int, Tensor, Tensor], None]
"""Writes rotated keys and values of a chunk, told by its place, into one layer's cache."""


def table_of(transformer: Wan21Transformer, cache: Wan21TransformerCache, places: range) -> RopeTable:
    """Return the rotation of this process's tokens of the chunks at `places`."""
    angles = [split_inputs_cp(cache.rope_adapter.shift_t_queries(place), 0, transformer.cp_group) for place in places]
    return rope_table(torch.cat(angles), interleaved=True)


def read_again(
    transformer: Wan21Transformer,
    cache: Wan21TransformerCache,
    tokens: Tensor,
    places: range,
    write: WriteChunk,
) -> None:
    """Pass clean `tokens [*batch, chunks L, D]` through the network, every chunk attending to itself and those before
    it among them, with the present prompt; `write` gets each layer's keys and values, oldest chunk first."""
    table, length = table_of(transformer, cache, places), tokens.shape[-2] // len(places)
    caches = [
        BlockCache(
            _CausalAttention(of_block.self_attn, table, length, places, write, block.self_attn.attn_op),  # type: ignore[arg-type, union-attr]
            of_block.cross_attn,
        )
        for block, of_block in zip(transformer.network.blocks, cache.network_cache.block_caches, strict=True)
    ]
    transformer.network.run_blocks(tokens, torch.zeros(1, device=tokens.device), caches)


@dataclass
class _CausalAttention:
    """One layer's attention of several chunks at once, each to itself and those before it."""

    cache: BlockKVCache
    table: RopeTable
    length: int
    places: range
    write: WriteChunk
    attention: Callable[[Tensor, Tensor, Tensor], Tensor]

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k = apply_rope_freqs(q, self.table), apply_rope_freqs(k, self.table)
        answers = []
        for number, place in enumerate(self.places):
            begin, end = number * self.length, (number + 1) * self.length
            self.write(self.cache, place, k[..., begin:end, :, :], v[..., begin:end, :, :])
            answers.append(self.attention(q[..., begin:end, :, :], k[..., :end, :, :], v[..., :end, :, :]))
        return torch.cat(answers, -3)
