"""The KV cache of a streaming model: a ring that holds the first tokens of a rollout and the newest ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from flashdreams.core.attention.native import explicit_is_faster


@dataclass(frozen=True)
class KVSnapshot:
    """A copy of what a `BlockKVCache` held at one moment; made by `snapshot`, read by `restore`, never changed."""

    k: Tensor
    v: Tensor
    chunk_idx: int | None


class BlockKVCache:
    """Keys and values of one attention layer for one rollout, laid out as `[sink | window]`.

    Counting tokens from the start of the rollout, the first `sink_size` stay for ever and the newest `window_size` of
    the others are kept. A token's slot is fixed when it is written, and the chunk that follows overwrites the oldest
    slots: memory never moves, and nothing is allocated after construction. The slots in use are always the first
    `size` ones, so that attention over `cached_k()` and `cached_v()` sees valid tokens only; past the roll point
    they are not in the order of time, which attention does not notice since positions are inside the keys.

    A step calls `before_update(i)`, then `update` and the two reads any number of times, then `after_update(i)`.
    Everything here is state of one rollout, and `copy.deepcopy` of it is a faithful copy as well.

    On a CPU, with `seq_dim` right before (heads, head_dim), values lie in memory as `[..., H, S, D]` and so do keys,
    but as `[..., H, D, S]` where `explicit_is_faster`: the orders that `attend` is fastest with. Shapes seen from
    outside stay.
    """

    def __init__(
        self,
        k_shape: Sequence[int],
        v_shape: Sequence[int],
        seq_dim: int,
        chunk_size: int,
        window_size: int,
        sink_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        """Sizes are in tokens along `seq_dim`; the entries of `k_shape` and `v_shape` there are ignored.

        Raises ValueError for sizes that cannot hold a chunk.
        """
        if chunk_size < 1:
            raise ValueError(f"chunk_size must be at least 1, got {chunk_size}")
        if sink_size < 0:
            raise ValueError(f"sink_size must be at least 0, got {sink_size}")
        if window_size < chunk_size:
            raise ValueError(f"window_size must be at least chunk_size = {chunk_size}, got {window_size}")
        self.chunk_size, self.window_size, self.sink_size = chunk_size, window_size, sink_size
        self.seq_dim = _checked_dim(seq_dim, k_shape, v_shape)
        device = torch.device(device) if device is not None else torch.get_default_device()
        with torch.inference_mode(False):  # else the buffers could not be written outside inference mode
            dtype = torch.get_default_dtype() if dtype is None else dtype
            self._k = self._allocate(k_shape, device, dtype, transposed=explicit_is_faster(device, dtype))
            self._v = self._allocate(v_shape, device, dtype, transposed=False)
            self._slots = torch.zeros(chunk_size, dtype=torch.long, device=device)
        self._spans: list[tuple[int, int, int]] = []
        self._chunk_idx: int | None = None
        self._size, self._size_after_update = 0, 0

    @classmethod
    def from_tensor(cls, k: Tensor, v: Tensor, seq_dim: int) -> BlockKVCache:
        """A full cache that holds a copy of `k` and `v` as its only chunk, for example of cross-attention."""
        length = k.shape[_checked_dim(seq_dim, k.shape, v.shape)]
        cache = cls(k.shape, v.shape, seq_dim, length, length, device=k.device, dtype=k.dtype)
        cache.before_update(0)
        cache.update(k, v)
        cache.after_update(0)
        return cache

    @property
    def capacity(self) -> int:
        """Tokens the cache can hold: sink and window."""
        return self.sink_size + self.window_size

    @property
    def size(self) -> int:
        """Tokens the cache holds."""
        return self._size

    @property
    def chunk_idx(self) -> int | None:
        """Index of the newest chunk, None in an empty cache."""
        return self._chunk_idx

    @property
    def nbytes(self) -> int:
        """Bytes of the buffers, full or not."""
        return self._k.nbytes + self._v.nbytes

    def is_steady_state(self) -> bool:
        """Whether the cache is full: from here on sizes stay the same and every new chunk evicts the oldest."""
        return self._size == self.capacity

    def before_update(self, chunk_idx: int) -> None:
        """Choose the slots of chunk `chunk_idx`: the newest chunk again, or the one after it (0 in an empty cache).

        Any other index raises ValueError.
        """
        if chunk_idx == self._chunk_idx:
            return
        following = 0 if self._chunk_idx is None else self._chunk_idx + 1
        if chunk_idx != following:
            accepted = "0" if self._chunk_idx is None else f"{self._chunk_idx} (again) or {following} (next)"
            raise ValueError(f"chunk_idx must be {accepted}, got {chunk_idx}")
        if self._size != self._size_after_update:
            raise RuntimeError(f"chunk {self._chunk_idx} must be written by update before chunk {chunk_idx}")
        self._choose_slots(chunk_idx)

    def update(self, k: Tensor, v: Tensor) -> None:
        """Write the chunk's keys and values, `chunk_size` long in `seq_dim`, into its slots.

        They are copied, cast to the cache's dtype and cut from the autograd graph.
        """
        if not self._size_after_update:
            raise RuntimeError("update was called before before_update(chunk_idx) chose the slots")
        pairs = (("k", k, self._k), ("v", v, self._v))
        for name, new, buffer in pairs:
            wanted = (*buffer.shape[: self.seq_dim], self.chunk_size, *buffer.shape[self.seq_dim + 1 :])
            if new.shape != wanted:
                raise ValueError(f"{name} must have shape {list(wanted)}, got {list(new.shape)}")
            if new.device.type != buffer.device.type:
                raise ValueError(f"{name} must be on {buffer.device}, where the cache is, got {new.device}")
        for _, new, buffer in pairs:
            self._write(buffer, new.detach())
        self._size = self._size_after_update

    def cached_k(self) -> Tensor:
        """The valid keys, `size` long in `seq_dim`; a view that the next update changes."""
        return self._k.narrow(self.seq_dim, 0, self._size)

    def cached_v(self) -> Tensor:
        """The valid values, `size` long in `seq_dim`; a view that the next update changes."""
        return self._v.narrow(self.seq_dim, 0, self._size)

    def after_update(self, chunk_idx: int) -> None:
        """End the step of `before_update(chunk_idx)`; raises ValueError for another index, RuntimeError if no
        `update` wrote the chunk."""
        if chunk_idx != self._chunk_idx:
            raise ValueError(f"after_update must name the chunk of before_update, {self._chunk_idx}, got {chunk_idx}")
        if self._size != self._size_after_update:
            raise RuntimeError(f"after_update({chunk_idx}) was called, but no update wrote chunk {chunk_idx}")

    def reset(self) -> None:
        """Empty the cache; the next chunk is 0. The buffers stay."""
        self._chunk_idx, self._size, self._size_after_update, self._spans = None, 0, 0, []

    def snapshot(self) -> KVSnapshot:
        """A copy of the valid tokens and the position, between steps."""
        return KVSnapshot(k=self.cached_k().clone(), v=self.cached_v().clone(), chunk_idx=self._chunk_idx)

    def restore(self, snapshot: KVSnapshot) -> None:
        """Go back to `snapshot`, taken of this cache or of one of the same sizes; ValueError for other sizes."""
        size = snapshot.k.shape[self.seq_dim] if snapshot.k.ndim == self._k.ndim else -1
        for name, copy, buffer in (("k", snapshot.k, self._k), ("v", snapshot.v, self._v)):
            wanted = (*buffer.shape[: self.seq_dim], size, *buffer.shape[self.seq_dim + 1 :])
            if copy.shape != wanted or size > self.capacity:
                raise ValueError(
                    f"snapshot {name} of shape {list(copy.shape)} does not fit a cache of {list(buffer.shape)}"
                )
            buffer.narrow(self.seq_dim, 0, size).copy_(copy)
        self.reset()
        if snapshot.chunk_idx is not None:
            self._choose_slots(snapshot.chunk_idx)
        self._size = size

    def _choose_slots(self, chunk_idx: int) -> None:
        self._chunk_idx = chunk_idx
        self._size_after_update = min((chunk_idx + 1) * self.chunk_size, self.capacity)
        self._spans = self._spans_of(chunk_idx)
        if self._slots.device.type != "cpu":
            for offset, slot, count in self._spans:  # made on the device: a copy from the host would wait for it
                torch.arange(slot, slot + count, out=self._slots.narrow(0, offset, count))

    def _spans_of(self, chunk_idx: int) -> list[tuple[int, int, int]]:
        """Where a chunk goes: (offset in the chunk, slot, count), split where the sink ends and the ring wraps."""
        spans = []
        token, end = chunk_idx * self.chunk_size, (chunk_idx + 1) * self.chunk_size
        first = token
        while token < end:
            if token < self.sink_size:
                slot, count = token, self.sink_size - token
            else:
                turned = (token - self.sink_size) % self.window_size
                slot, count = self.sink_size + turned, self.window_size - turned
            count = min(count, end - token)
            spans.append((token - first, slot, count))
            token += count
        return spans

    @torch.no_grad()
    def _write(self, buffer: Tensor, new: Tensor) -> None:
        if buffer.device.type != "cpu":
            # The slots are data here, not constants: a captured CUDA graph writes each chunk where it belongs.
            buffer.index_copy_(self.seq_dim, self._slots, new.to(buffer.dtype))
            return
        for offset, slot, count in self._spans:
            buffer.narrow(self.seq_dim, slot, count).copy_(new.narrow(self.seq_dim, offset, count))

    def _allocate(self, shape: Sequence[int], device: torch.device, dtype: torch.dtype, transposed: bool) -> Tensor:
        """A zeroed buffer with the logical shape and the memory order described in the class's docstring."""
        full = [*shape[: self.seq_dim], self.capacity, *shape[self.seq_dim + 1 :]]
        order = list(range(len(full)))
        if device.type == "cpu" and self.seq_dim == len(full) - 3:
            seq, heads, dim = order[-3:]
            order[-3:] = [heads, dim, seq] if transposed else [heads, seq, dim]
        memory = torch.zeros([full[i] for i in order], device=device, dtype=dtype)
        return memory.permute([order.index(i) for i in range(len(order))])


def _checked_dim(seq_dim: int, k_shape: Sequence[int], v_shape: Sequence[int]) -> int:
    """`seq_dim` counted from the front, after a look at the shapes."""
    if len(k_shape) != len(v_shape):
        raise ValueError(f"k_shape and v_shape must have as many dims, got {list(k_shape)} and {list(v_shape)}")
    if not -len(k_shape) <= seq_dim < len(k_shape):
        raise ValueError(f"seq_dim must be within the {len(k_shape)} dims of k_shape, got {seq_dim}")
    return seq_dim % len(k_shape)
