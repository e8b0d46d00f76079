"""Splitting a sequence over the processes of a group and putting it together again."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def split_inputs_cp(x: Tensor, seq_dim: int, cp_group: dist.ProcessGroup | None) -> Tensor:
    """This process's shard of `x`: the `rank`-th of `size` equal contiguous pieces along `seq_dim`.

    No group, or a group of one, returns `x` itself. Raises ValueError when the length cannot be divided.
    """
    _check_dim(x, seq_dim)
    size = group_size(cp_group)
    if size == 1:
        return x
    length = x.shape[seq_dim]
    if length % size:
        raise ValueError(f"dim {seq_dim} of length {length} cannot be split evenly over {size} processes")
    return x.chunk(size, dim=seq_dim)[dist.get_rank(cp_group)].contiguous()


def cat_outputs_cp(x: Tensor, seq_dim: int, cp_group: dist.ProcessGroup | None) -> Tensor:
    """The whole of which `x` is this process's shard, as `split_inputs_cp` cut it; the same on all processes.

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


def group_size(cp_group: dist.ProcessGroup | None) -> int:
    """How many processes share the sequence; 1 without a group."""
    return 1 if cp_group is None else dist.get_world_size(cp_group)


def _check_dim(x: Tensor, seq_dim: int) -> None:
    if not -x.ndim <= seq_dim < x.ndim:
        raise ValueError(f"seq_dim must be within the {x.ndim} dims of x, got {seq_dim}")
