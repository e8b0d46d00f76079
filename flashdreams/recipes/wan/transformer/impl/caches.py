"""A rollout's state in a transformer block: keys and values of the newest chunks, and those of the prompt."""

from __future__ import annotations

from collections.abc import Callable
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

    def before_update(self, chunk_idx: int) -> None:
        """Choose the slots of chunk `chunk_idx`."""
        self.self_attn.before_update(chunk_idx)

    def after_update(self, chunk_idx: int) -> None:
        """End the step of chunk `chunk_idx`."""
        self.self_attn.after_update(chunk_idx)


def overwrite(present: Any, new: Any) -> None:
    """Take the keys and values of a new prompt in the storage of the present one: a captured graph finds them."""
    if isinstance(present, CrossAttnCache):
        overwrite(present.text, new.text)
        if present.img is not None and new.img is not None:
            overwrite(present.img, new.img)
        return
    present.cached_k().copy_(new.cached_k())
    present.cached_v().copy_(new.cached_v())
