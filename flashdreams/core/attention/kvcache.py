"""The KV cache of a streaming model: a ring that holds the first tokens of a rollout and the newest ones."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field

import torch
from torch import Tensor

from flashdreams.core.attention.devices import DEFAULT_DEVICE, resolved
from flashdreams.core.attention.native import explicit_is_faster


@dataclass(frozen=True)
class KVSnapshot:
    """A copy of what a `BlockKVCache` held at one moment; made by `snapshot`, read by `restore`, never changed."""

    k: Tensor
    v: Tensor
    chunk_idx: int | None


@dataclass(eq=False)
class BlockKVCache:
    """Keys and values of one attention layer for one rollout, laid out as `[sink | window]`.

    Counting tokens from the start of the rollout, the first `sink_size` stay forever and the newest `window_size` of
    the others are kept. A token's slot is fixed when it is written, and the chunk that follows overwrites the oldest
    slots: memory never moves. `ring_k()` and `ring_v()` are views of the valid tokens in the order of their slots,
    which attention does not notice when positions are inside the keys; `cached_k()` and `cached_v()` are in the order
    of time, and copy the tokens once the ring has turned.

    A step calls `before_update(i)`, then `update` and the reads any number of times, then `after_update(i)`.
    Everything here is state of one rollout, and `copy.deepcopy` of it is a faithful copy as well.

    On a CPU, with `seq_dim` right before (heads, head_dim), values lie in memory as `[..., H, S, D]` and so do keys,
    but as `[..., H, D, S]` where `explicit_is_faster`: the orders that `attend` is fastest with. Shapes seen from
    outside stay.
    """

    k_shape: Sequence[int]
    """Shape of the keys; the entry of `seq_dim` is ignored."""
    v_shape: Sequence[int]
    """Shape of the values; the entry of `seq_dim` is ignored."""
    seq_dim: int
    """Dim of the tokens."""
    chunk_size: int
    """Tokens of a chunk."""
    window_size: int
    """Tokens kept of those after the sink; together with the sink at least a chunk."""
    sink_size: int = 0
    """Tokens at the start of the rollout that are never evicted."""
    device: torch.device | str = DEFAULT_DEVICE
    """Device of the buffers; the default is CUDA where there is one, else torch's default device."""
    dtype: torch.dtype = torch.float16
    """Type of the buffers."""
    _prev_chunk_idx: int = -1
    _curr_chunk_idx: int | None = None
    _n_cached: int = 0
    _k: Tensor = field(init=False, repr=False)
    _v: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Raise ValueError for sizes that cannot hold a chunk."""
        if self.chunk_size < 1:
            raise ValueError(f"chunk_size must be at least 1, got {self.chunk_size}")
        if self.sink_size < 0:
            raise ValueError(f"sink_size must be at least 0, got {self.sink_size}")
        if self.window_size < 1 or self.capacity < self.chunk_size:
            raise ValueError(
                f"window_size must be at least 1 and with sink_size = {self.sink_size} at least "
                f"chunk_size = {self.chunk_size}, got {self.window_size}"
            )
        self.seq_dim = _checked_dim(self.seq_dim, self.k_shape, self.v_shape)
        self.device = resolved(self.device)
        with torch.inference_mode(False):  # else the buffers could not be written outside inference mode
            self._k = self._allocate(self.k_shape, transposed=explicit_is_faster(torch.device(self.device), self.dtype))
            self._v = self._allocate(self.v_shape, transposed=False)
            self._slots = torch.zeros(self.chunk_size, dtype=torch.long, device=self.device)
        self._order: Tensor | None = None
        self._spans: list[tuple[int, int, int]] = []
        self._written = True

    @classmethod
    def from_tensor(cls, k: Tensor, v: Tensor, seq_dim: int) -> BlockKVCache:
        """Return a full cache that holds a copy of `k` and `v` as its only chunk, for example of cross-attention."""
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
        """Tokens the cache holds, those of the chunk that `before_update` announced included."""
        return self._n_cached

    @property
    def write_end(self) -> int:
        """End of the newest chunk in `cached_k()`: its tokens are the last ones before it, and it is `size`."""
        return self._n_cached

    @property
    def chunk_idx(self) -> int | None:
        """Index of the newest chunk, None in an empty cache."""
        return self._curr_chunk_idx

    @property
    def nbytes(self) -> int:
        """Bytes of the buffers, full or not."""
        return self._k.nbytes + self._v.nbytes

    def is_steady_state(self) -> bool:
        """Return whether the cache is full: sizes stay the same from here on and each chunk evicts the oldest."""
        return self._n_cached == self.capacity

    def before_update(self, chunk_idx: int) -> None:
        """Choose the slots of chunk `chunk_idx`: the newest chunk again, or the one after it (0 in an empty cache).

        Any other index raises ValueError.
        """
        if chunk_idx == self._curr_chunk_idx:
            return
        following = 0 if self._curr_chunk_idx is None else self._curr_chunk_idx + 1
        if chunk_idx != following:
            accepted = "0" if self._curr_chunk_idx is None else f"{self._curr_chunk_idx} (again) or {following} (next)"
            raise ValueError(f"chunk_idx must be {accepted}, got {chunk_idx}")
        if not self._written:
            raise RuntimeError(f"chunk {self._curr_chunk_idx} must be written by update before chunk {chunk_idx}")
        self._choose_slots(chunk_idx)
        self._written = False

    def update(self, k: Tensor, v: Tensor) -> None:
        """Write the chunk's keys and values, `chunk_size` long in `seq_dim`, into its slots.

        They are copied, cast to the cache's dtype and cut from the autograd graph.
        """
        if self._n_cached == 0:  # the index of a chunk would make a compiler trace every chunk anew
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
        self._written = True

    @torch.no_grad()
    def rewrite(self, chunk_idx: int, k: Tensor, v: Tensor) -> None:
        """Write other keys and values of a chunk, the newest or one before it, into the slots that it still has.

        Tokens in the sink stay as they are, and so does the chunk's place in time. Raises ValueError for a later chunk.
        """
        newest = -1 if self._curr_chunk_idx is None else self._curr_chunk_idx
        if not 0 <= chunk_idx <= newest:
            raise ValueError(f"chunk_idx must be one of the {newest + 1} chunks so far, got {chunk_idx}")
        begin, end = chunk_idx * self.chunk_size, (chunk_idx + 1) * self.chunk_size
        token = max(begin, self.sink_size, (newest + 1) * self.chunk_size - self.window_size)
        while token < end:
            turned = (token - self.sink_size) % self.window_size
            count = min(self.window_size - turned, end - token)
            for buffer, new in ((self._k, k), (self._v, v)):
                slots = buffer.narrow(self.seq_dim, self.sink_size + turned, count)
                slots.copy_(new.narrow(self.seq_dim, token - begin, count))
            token += count

    def ring_k(self) -> Tensor:
        """Return the valid keys in the order of their slots: a view that the next update changes."""
        return self._k.narrow(self.seq_dim, self._first_slot(self._curr_chunk_idx), self._n_cached)

    def ring_v(self) -> Tensor:
        """Return the valid values in the order of their slots: a view that the next update changes."""
        return self._v.narrow(self.seq_dim, self._first_slot(self._curr_chunk_idx), self._n_cached)

    def cached_k(self) -> Tensor:
        """Return the valid keys, `size` long in `seq_dim`, oldest first: a view, or a copy once the ring has turned."""
        return self._in_order_of_time(self.ring_k())

    def cached_v(self) -> Tensor:
        """Return the valid values, `size` long in `seq_dim`, in the order of `cached_k()`."""
        return self._in_order_of_time(self.ring_v())

    def chunk(self, chunk_idx: int) -> tuple[Tensor, Tensor]:
        """Return the keys and the values of one chunk that the cache holds: views that later updates change.

        Raises ValueError for a chunk that was evicted or is still to come, and for one that lies in several pieces.
        """
        newest = -1 if self._curr_chunk_idx is None else self._curr_chunk_idx
        if not (0 <= chunk_idx <= newest and self._holds(chunk_idx, newest)):
            raise ValueError(f"chunk_idx must be one of the chunks held, the newest is {newest}, got {chunk_idx}")
        spans = self._spans_of(chunk_idx)
        if len(spans) != 1:
            raise ValueError(f"chunk {chunk_idx} lies in {len(spans)} pieces: chunk_idx must be one that is whole")
        ((_, slot, count),) = spans
        return self._k.narrow(self.seq_dim, slot, count), self._v.narrow(self.seq_dim, slot, count)

    def after_update(self, chunk_idx: int) -> None:
        """End the step of `before_update(chunk_idx)`; raises ValueError for another index, RuntimeError if no
        `update` wrote the chunk."""
        current = self._curr_chunk_idx
        if chunk_idx != current:
            raise ValueError(f"after_update must name the chunk of before_update, {current}, got {chunk_idx}")
        if not self._written:
            raise RuntimeError(f"after_update({chunk_idx}) was called, but no update wrote chunk {chunk_idx}")
        self._prev_chunk_idx = chunk_idx

    def reset(self) -> None:
        """Empty the cache; the next chunk is 0. The buffers stay."""
        self._prev_chunk_idx, self._curr_chunk_idx, self._n_cached = -1, None, 0
        self._spans, self._written = [], True

    def snapshot(self) -> KVSnapshot:
        """Return a copy of the valid tokens and the position, between steps."""
        return KVSnapshot(k=self.ring_k().clone(), v=self.ring_v().clone(), chunk_idx=self._curr_chunk_idx)

    def restore(self, snapshot: KVSnapshot) -> None:
        """Go back to `snapshot`, taken of this cache or of one of the same sizes; ValueError for other sizes."""
        size = snapshot.k.shape[self.seq_dim] if snapshot.k.ndim == self._k.ndim else -1
        for name, copy, buffer in (("k", snapshot.k, self._k), ("v", snapshot.v, self._v)):
            wanted = (*buffer.shape[: self.seq_dim], size, *buffer.shape[self.seq_dim + 1 :])
            if copy.shape != wanted or size > self.capacity:
                raise ValueError(
                    f"snapshot {name} of shape {list(copy.shape)} does not fit a cache of {list(buffer.shape)}"
                )
            buffer.narrow(self.seq_dim, self._first_slot(snapshot.chunk_idx), size).copy_(copy)
        self.reset()
        if snapshot.chunk_idx is not None:
            self._choose_slots(snapshot.chunk_idx)
            self._prev_chunk_idx = snapshot.chunk_idx

    @torch.no_grad()
    def take_state(self, other: BlockKVCache) -> None:
        """Become a copy of `other` in the present buffers; raises ValueError where sizes, types or devices differ."""
        mine, theirs = vars(self), vars(other)
        for name in ("_k", "_v", "_slots"):
            wanted, given = (
                (each[name].shape, each[name].stride(), each[name].dtype, each[name].device) for each in (mine, theirs)
            )
            if wanted != given:
                raise ValueError(f"{name} must be of shape, strides, type and device {wanted}, got {given}")
        for name, value in theirs.items():
            present = mine.get(name)
            if isinstance(present, Tensor) and isinstance(value, Tensor):
                present.copy_(value)
            elif not isinstance(present, Tensor):  # an order that a captured graph reads stays where it is
                setattr(self, name, deepcopy(value))
        if self._order is not None and self._curr_chunk_idx is not None:
            self._write_order(self._order)

    def _choose_slots(self, chunk_idx: int) -> None:
        self._curr_chunk_idx = chunk_idx
        self._n_cached = self._size_at(chunk_idx)
        self._spans = self._spans_of(chunk_idx)
        if self._slots.device.type == "cpu":
            return
        start = 0
        for _, slot, count in self._spans:  # made on the device: a copy from the host would wait for it
            torch.arange(slot, slot + count, out=self._slots.narrow(0, start, count))
            start += count
        if self._order is not None:
            self._write_order(self._order)

    def _size_at(self, chunk_idx: int) -> int:
        """Return the number of valid tokens while `chunk_idx` is the newest chunk."""
        return min((chunk_idx + 1) * self.chunk_size, self.capacity)

    def _holds(self, chunk_idx: int, newest: int) -> bool:
        """Return whether no token of chunk `chunk_idx` is evicted while `newest` is the newest chunk."""
        begin, end = chunk_idx * self.chunk_size, (chunk_idx + 1) * self.chunk_size
        return end <= self.sink_size or max(begin, self.sink_size) >= (newest + 1) * self.chunk_size - self.window_size

    def _first_slot(self, chunk_idx: int | None) -> int:
        """Return the first of the slots in use while `chunk_idx` is the newest chunk."""
        return 0

    def _spans_of(self, chunk_idx: int) -> list[tuple[int, int, int]]:
        """Return where a chunk goes: (offset in the chunk, slot, count), split where the sink ends and the ring wraps.

        Tokens that the same chunk would overwrite again, in a window shorter than a chunk, are left out.
        """
        spans = []
        first, end = chunk_idx * self.chunk_size, (chunk_idx + 1) * self.chunk_size
        token = first
        while token < end:
            if token < self.sink_size:
                slot, count = token, self.sink_size - token
            else:
                token = max(token, end - self.window_size)
                turned = (token - self.sink_size) % self.window_size
                slot, count = self.sink_size + turned, self.window_size - turned
            count = min(count, end - token)
            spans.append((token - first, slot, count))
            token += count
        return spans

    @torch.no_grad()
    def _write(self, buffer: Tensor, new: Tensor) -> None:
        if buffer.device.type == "cpu":
            for offset, slot, count in self._spans:
                buffer.narrow(self.seq_dim, slot, count).copy_(new.narrow(self.seq_dim, offset, count))
            return
        # The slots are data here, not constants: a captured CUDA graph writes each chunk where it belongs.
        kept = sum(count for _, _, count in self._spans)
        if kept < self.chunk_size:
            parts = [new.narrow(self.seq_dim, offset, count) for offset, _, count in self._spans]
            if self._curr_chunk_idx is not None and self._curr_chunk_idx * self.chunk_size >= self.sink_size:
                parts = [new.narrow(self.seq_dim, self.chunk_size - kept, kept)]  # the same at each later chunk
            new = torch.cat(parts, dim=self.seq_dim) if len(parts) > 1 else parts[0]
        buffer.index_copy_(self.seq_dim, self._slots.narrow(0, 0, kept), new.to(buffer.dtype))

    def _turned(self) -> int:
        """Return how many slots after the first one of the window its oldest token is."""
        seen = 0 if self._curr_chunk_idx is None else (self._curr_chunk_idx + 1) * self.chunk_size
        return (seen - self.sink_size) % self.window_size if seen > self.capacity else 0

    def _in_order_of_time(self, ring: Tensor) -> Tensor:
        turned = self._turned()
        if ring.device.type != "cpu":
            stays = self.chunk_size % self.window_size == 0 == self.sink_size % self.window_size
            if stays or not self.is_steady_state():
                return ring
            # The order is data too, so that a captured graph has each chunk's own.
            if self._order is None:
                with torch.inference_mode(False):
                    self._order = self._write_order(torch.zeros(self.capacity, dtype=torch.long, device=ring.device))
            return ring.index_select(self.seq_dim, self._order)
        if not turned:
            return ring
        sink, window = ring.split([self.sink_size, self.window_size], dim=self.seq_dim)
        old, new = window.split([turned, self.window_size - turned], dim=self.seq_dim)
        return torch.cat([sink, new, old], dim=self.seq_dim)

    def _write_order(self, order: Tensor) -> Tensor:
        """Write the slot of each place in the order of time into `order`."""
        turned, end, place = self._turned(), self.capacity, 0
        for first, last in (
            (0, self.sink_size),
            (self.sink_size + turned, end),
            (self.sink_size, self.sink_size + turned),
        ):
            torch.arange(first, last, out=order.narrow(0, place, last - first))
            place += last - first
        return order

    def _allocate(self, shape: Sequence[int], transposed: bool) -> Tensor:
        """Return a zeroed buffer with the logical shape and the memory order described in the class's docstring."""
        full = [*shape[: self.seq_dim], self.capacity, *shape[self.seq_dim + 1 :]]
        order = list(range(len(full)))
        if torch.device(self.device).type == "cpu" and self.seq_dim == len(full) - 3:
            seq, heads, dim = order[-3:]
            order[-3:] = [heads, dim, seq] if transposed else [heads, seq, dim]
        memory = torch.zeros([full[i] for i in order], device=self.device, dtype=self.dtype)
        return memory.permute([order.index(i) for i in range(len(order))])


def _checked_dim(seq_dim: int, k_shape: Sequence[int], v_shape: Sequence[int]) -> int:
    """Return `seq_dim` counted from the front, after a look at the shapes."""
    if len(k_shape) != len(v_shape):
        raise ValueError(f"k_shape and v_shape must have as many dims, got {list(k_shape)} and {list(v_shape)}")
    if not -len(k_shape) <= seq_dim < len(k_shape):
        raise ValueError(f"seq_dim must be within the {len(k_shape)} dims of k_shape, got {seq_dim}")
    return seq_dim % len(k_shape)
