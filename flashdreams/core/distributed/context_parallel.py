"""Splitting a sequence over the processes of a group and putting it together again."""

from __future__ import annotations

import math
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")

_MOST_PROCESSES = 16
"""Larger numbers of processes are not named in messages."""


def split_inputs_cp(x: Tensor, seq_dim: int, cp_group: dist.ProcessGroup | None = None) -> Tensor:
    """Return this process's shard of `x`: the `rank`-th of `size` equal contiguous pieces along `seq_dim`.

    No group, or a group of one, returns `x` itself. Raises ValueError when the length cannot be divided.
    """
    _check_dim(x, seq_dim)
    size = group_size(cp_group)
    if cp_group is None or size == 1:
        return x
    length = x.shape[seq_dim]
    if length % size:
        raise ValueError(f"dim {seq_dim} of length {length} cannot be split evenly over {size} processes")
    return x.chunk(size, dim=seq_dim)[cp_group.rank()].contiguous()


def cat_outputs_cp(x: Tensor, seq_dim: int, cp_group: dist.ProcessGroup | None = None) -> Tensor:
    """Return the whole of which `x` is this process's shard, as `split_inputs_cp` cut it; the same on all processes.

    All shards must have the same shape. No group, or a group of one, returns `x` itself. Not differentiable.
    """
    _check_dim(x, seq_dim)
    size = group_size(cp_group)
    if size == 1:
        return x
    mine = x.detach().contiguous()
    shards = [torch.empty_like(mine) for _ in range(size)]
    dist.all_gather(shards, mine, group=cp_group)
    return torch.cat(shards, dim=seq_dim)


def split_inputs_cp_object_list(object_list: list[T], cp_group: dist.ProcessGroup | None = None) -> list[T]:
    """Return this process's shard of a list: the `rank`-th of `size` equal contiguous pieces.

    No group, or a group of one, returns the list itself. Raises ValueError when the length cannot be divided.
    """
    size = group_size(cp_group)
    if size == 1:
        return object_list
    if len(object_list) % size:
        raise ValueError(f"a list of {len(object_list)} cannot be split evenly over {size} processes")
    share, rank = len(object_list) // size, dist.get_rank(cp_group)
    return object_list[rank * share : (rank + 1) * share]


def cat_outputs_cp_object_list(object_list: list[T], cp_group: dist.ProcessGroup | None = None) -> list[T]:
    """Return the lists of all processes one after another, as `split_inputs_cp_object_list` cut them; all must call.

    The objects are sent as pickles: use it among the processes of one run only.
    """
    size = group_size(cp_group)
    if size == 1:
        return object_list
    shards: list[list[T]] = [[] for _ in range(size)]
    dist.all_gather_object(shards, object_list, group=cp_group)
    return [each for shard in shards for each in shard]


def group_size(cp_group: dist.ProcessGroup | None) -> int:
    """Return the number of processes share the sequence; 1 without a group."""
    return 1 if cp_group is None else cp_group.size()


def check_shares(cp_group: dist.ProcessGroup | None, tokens: int, heads: int | None = None) -> None:
    """Raise ValueError, naming the numbers of processes that work, where a chunk's tokens cannot be shared evenly.

    `heads`: attention heads that must be shared evenly too, as "ulysses" wants.
    """
    size, common = group_size(cp_group), tokens if heads is None else math.gcd(tokens, heads)
    if common % size == 0:
        return
    what = f"{tokens} tokens" + ("" if heads is None else f" and {heads} attention heads")
    works = [str(count) for count in range(1, min(common, _MOST_PROCESSES) + 1) if common % count == 0]
    raise ValueError(f"{size} processes cannot share {what} of a chunk evenly: start {' or '.join(works)}")


def _check_dim(x: Tensor, seq_dim: int) -> None:
    if not -x.ndim <= seq_dim < x.ndim:
        raise ValueError(f"seq_dim must be within the {x.ndim} dims of x, got {seq_dim}")
