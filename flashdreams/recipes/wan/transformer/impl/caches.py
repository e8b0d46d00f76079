"""A rollout's state in a transformer block: keys and values of the newest chunks, and those of the prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from flashdreams.core.attention import BlockKVCache

AttentionOverMemory = Callable[[Tensor, Tensor, Tensor], Tensor]
"""An alternative to a KV cache: unrotated q, k, v `[..., L, H, D]` of the present tokens -> `[..., L, H, D]`.

It rotates, remembers and attends, for example over a whole clip at once in training.
"""


@dataclass
class KeysValues:
    """Keys and values `[..., L, H, D]` as they were computed, gradients included; read like a `BlockKVCache`."""

    k: Tensor
    v: Tensor

    def cached_k(self) -> Tensor:
        """Return the keys."""
        return self.k

    def cached_v(self) -> Tensor:
        """Return the values."""
        return self.v

    ring_k, ring_v = cached_k, cached_v


@dataclass
class CrossAttnCache:
    """Keys and values of a prompt and, in image-to-video networks, of an image."""

    text: BlockKVCache | KeysValues
    img: BlockKVCache | KeysValues | None = None


@dataclass
class BlockCache:
    """State of one rollout in one block."""

    self_attn: BlockKVCache
    """Keys and values of the newest chunks; an `AttentionOverMemory` serves as well."""
    cross_attn: CrossAttnCache
    """Keys and values of the prompt."""

    @property
    def kv_caches(self) -> tuple[BlockKVCache, ...]:
        """All that is written chunk by chunk; a block with more caches adds them."""
        return (self.self_attn,)

    def before_update(self, chunk_idx: int) -> None:
        """Choose the slots of chunk `chunk_idx`."""
        for cache in self.kv_caches:
            cache.before_update(chunk_idx)

    def after_update(self, chunk_idx: int) -> None:
        """End the step of chunk `chunk_idx`."""
        for cache in self.kv_caches:
            cache.after_update(chunk_idx)


@dataclass
class WanDiTNetworkCache:
    """A rollout's state in the network, block by block.

    In a window of a single chunk nothing outlives a step, and all blocks share one KV cache, one after another.
    """

    block_caches: list[BlockCache]

    def before_update(self, chunk_idx: int) -> None:
        """Choose the slots of chunk `chunk_idx` in every block."""
        for cache in self.block_caches:
            cache.before_update(chunk_idx)

    def after_update(self, chunk_idx: int) -> None:
        """End the step of chunk `chunk_idx` in every block."""
        for cache in self.block_caches:
            cache.after_update(chunk_idx)

    @property
    def self_attn(self) -> list[BlockKVCache]:
        """Every block's keys and values of the newest chunks."""
        return [cache.self_attn for cache in self.block_caches if cache.self_attn is not None]

    @property
    def kv_caches(self) -> list[BlockKVCache]:
        """All caches that are written chunk by chunk, one that blocks share once."""
        found = [cache for block in self.block_caches for cache in block.kv_caches if cache is not None]
        return list({id(cache): cache for cache in found}.values())

    @property
    def cross_attn(self) -> list[CrossAttnCache]:
        """Every block's keys and values of the prompt; assign a list to replace them all."""
        return [cache.cross_attn for cache in self.block_caches]

    @cross_attn.setter
    def cross_attn(self, new: Sequence[CrossAttnCache]) -> None:
        for cache, prompt in zip(self.block_caches, new, strict=True):
            cache.cross_attn = prompt

    @property
    def fill(self) -> float:
        """Share of the window that holds tokens, 0 to 1."""
        first = self.block_caches[0].self_attn
        return first.size / first.capacity

    @property
    def nbytes(self) -> int:
        """Bytes of all KV buffers."""
        return sum(cache.nbytes for cache in self.kv_caches)


def overwrite(present: Any, new: Any) -> None:
    """Take the keys and values of a new prompt in the storage of the present one: a captured graph finds them."""
    if isinstance(present, CrossAttnCache):
        overwrite(present.text, new.text)
        if present.img is not None and new.img is not None:
            overwrite(present.img, new.img)
        return
    present.cached_k().copy_(new.cached_k())
    present.cached_v().copy_(new.cached_v())
