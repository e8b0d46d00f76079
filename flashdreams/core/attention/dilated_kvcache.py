"""The KV cache of a layer with dilated attention: the present chunk, and every n-th of the chunks before it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from flashdreams.core.attention.devices import DEFAULT_DEVICE
from flashdreams.core.attention.kvcache import BlockKVCache


class DilatedKVCache(BlockKVCache):
    """A `BlockKVCache` that keeps only the chunks whose index is a multiple of `dilation`, the newest `kept_chunks`.

    While chunk `t` is the newest, attention sees `t` and the chunks `p < t` with `p % dilation == 0` and
    `p > t - kept_chunks * dilation`. The first slot is that of a chunk that will not be kept; a kept chunk is
    written straight into the ring behind it, over the chunk that leaves the window at that index. So a chunk is never
    copied, and the slots in use are one run: the ring alone while a kept chunk is the newest, else the first slot
    and the ring.
    """

    def __init__(
        self,
        k_shape: Sequence[int],
        v_shape: Sequence[int],
        seq_dim: int,
        chunk_size: int,
        kept_chunks: int,
        dilation: int,
        device: torch.device | str = DEFAULT_DEVICE,
        dtype: torch.dtype = torch.float16,
    ) -> None:
        """`chunk_size` in tokens along `seq_dim`. Raises ValueError for sizes below 1."""
        if kept_chunks < 1 or dilation < 1:
            raise ValueError(f"kept_chunks and dilation must be at least 1, got {kept_chunks} and {dilation}")
        self.kept_chunks, self.dilation = kept_chunks, dilation
        super().__init__(k_shape, v_shape, seq_dim, chunk_size, kept_chunks * chunk_size, chunk_size, device, dtype)

    def is_steady_state(self) -> bool:
        """Return true once the ring is full; from here on sizes depend only on `is_kept` of the newest chunk."""
        return self._curr_chunk_idx is not None and self._curr_chunk_idx >= (self.kept_chunks - 1) * self.dilation

    def is_kept(self, chunk_idx: int) -> bool:
        """Return true if later chunks will see chunk `chunk_idx`."""
        return chunk_idx % self.dilation == 0

    def cached_k(self) -> Tensor:
        """Return the valid keys in the order of their slots: chunks that are not neighbours have no other use."""
        return self.ring_k()

    def cached_v(self) -> Tensor:
        """Return the valid values in the order of `cached_k()`."""
        return self.ring_v()

    def _size_at(self, chunk_idx: int) -> int:
        kept_before = -(-chunk_idx // self.dilation)
        if self.is_kept(chunk_idx):
            return min(kept_before + 1, self.kept_chunks) * self.chunk_size
        return (min(kept_before, self.kept_chunks) + 1) * self.chunk_size

    def _holds(self, chunk_idx: int, newest: int) -> bool:
        first = newest - self.kept_chunks * self.dilation + 1
        return chunk_idx == newest or (self.is_kept(chunk_idx) and chunk_idx >= first)

    def _first_slot(self, chunk_idx: int | None) -> int:
        return self.chunk_size if chunk_idx is not None and self.is_kept(chunk_idx) else 0

    def _spans_of(self, chunk_idx: int) -> list[tuple[int, int, int]]:
        place = 1 + chunk_idx // self.dilation % self.kept_chunks if self.is_kept(chunk_idx) else 0
        return [(0, place * self.chunk_size, self.chunk_size)]
