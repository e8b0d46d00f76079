"""Attention over a sequence that several processes share: each holds a shard of the queries, keys and values."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn

from flashdreams.core.attention.native import attend
from flashdreams.core.distributed.context_parallel import group_size

ContextParallelMethod = Literal["ring", "ulysses"]


class ContextParallelAttention(nn.Module):
    """Attention of all queries over all keys of a group of processes; equal to one process that holds everything.

    "ring" passes keys and values from process to process and merges the partial results; any number of heads.
    "ulysses" exchanges shards so that each process sees the whole sequence for its share of the heads; the number of
    heads must be a multiple of the number of processes. Without a group it is `attend`. For inference: no gradients
    with a group.
    """

    def __init__(self, method: ContextParallelMethod = "ring") -> None:
        super().__init__()
        if method not in ("ring", "ulysses"):
            raise ValueError(f"method must be 'ring' or 'ulysses', got {method!r}")
        self.method = method
        self._group: dist.ProcessGroup | None = None

    def set_context_parallel_group(self, group: dist.ProcessGroup | None) -> None:
        """The processes that share the sequence; None is this process alone."""
        self._group = group

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """`q` `[..., Lq, H, D]`, `k`, `v` `[..., Lk, H, D]`, each this process's shard -> `[..., Lq, H, D]`.

        All processes must call with the same shapes.
        """
        if self._group is None or group_size(self._group) == 1:
            return attend(q, k, v)
        if torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v)):
            raise RuntimeError("context-parallel attention has no gradients: call it under torch.no_grad()")
        if self.method == "ring":
            return _ring(q, k, v, self._group)
        return _ulysses(q, k, v, self._group)


def _ring(q: Tensor, k: Tensor, v: Tensor, group: dist.ProcessGroup) -> Tensor:
    """Attend to one shard of keys while the next is on its way, and merge by the shards' softmax normalisers."""
    size, rank = dist.get_world_size(group), dist.get_rank(group)
    to_rank = dist.get_global_rank(group, (rank + 1) % size)
    from_rank = dist.get_global_rank(group, (rank - 1) % size)
    here = [k.contiguous(), v.contiguous()]
    total, total_lse = q.new_zeros((), dtype=torch.float32), q.new_full((), -math.inf, dtype=torch.float32)
    for remaining in reversed(range(size)):
        coming, requests = here, []
        if remaining:
            coming = [torch.empty_like(x) for x in here]
            transfers = [dist.P2POp(dist.isend, x, to_rank, group) for x in here]
            transfers += [dist.P2POp(dist.irecv, x, from_rank, group) for x in coming]
            requests = dist.batch_isend_irecv(transfers)
        part, lse = _partial(q, *here)
        merged_lse = torch.logaddexp(total_lse, lse)
        total = total * (total_lse - merged_lse).exp() + part * (lse - merged_lse).exp()
        total_lse = merged_lse
        for request in requests:
            request.wait()
        here = coming
    return total.to(q.dtype)


def _partial(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Attention over some of the keys, fp32 `[..., Lq, H, D]`, and the log of its normaliser `[..., Lq, H, 1]`."""
    scale = 1.0 / math.sqrt(q.shape[-1])
    q, k, v = q.transpose(-3, -2), k.transpose(-3, -2), v.transpose(-3, -2)
    if q.device.type == "cuda" and q.dtype in (torch.bfloat16, torch.float16):
        flat = [x.reshape(-1, *x.shape[-3:]) for x in (q, k, v)]
        out, lse = torch.ops.aten._scaled_dot_product_flash_attention(*flat, scale=scale)[:2]
        out, lse = out.unflatten(0, q.shape[:-3]), lse.unflatten(0, q.shape[:-3]).unsqueeze(-1)
    else:
        scores = ((q * scale) @ k.transpose(-2, -1)).float()
        lse = scores.logsumexp(dim=-1, keepdim=True)
        out = (scores - lse).exp().to(v.dtype) @ v
    return out.transpose(-3, -2).float(), lse.transpose(-3, -2)


def _ulysses(q: Tensor, k: Tensor, v: Tensor, group: dist.ProcessGroup) -> Tensor:
    """Exchange sequence shards of all heads for the whole sequence of some heads, attend, and exchange back."""
    size, heads = dist.get_world_size(group), q.shape[-2]
    if heads % size:
        raise ValueError(f"'ulysses' needs a number of heads that {size} processes can share, got {heads}")
    q, k, v = (_exchange(x, split_dim=-2, cat_dim=-3, group=group) for x in (q, k, v))
    out = attend(q, k, v)
    return _exchange(out, split_dim=-3, cat_dim=-2, group=group)


def _exchange(x: Tensor, split_dim: int, cat_dim: int, group: dist.ProcessGroup) -> Tensor:
    """Give every process its piece of `x` along `split_dim`, and join the pieces received along `cat_dim`."""
    size = dist.get_world_size(group)
    sent = torch.stack(x.chunk(size, dim=split_dim)).contiguous()  # cached keys lie in another order of memory
    received = torch.empty_like(sent)
    dist.all_to_all_single(received, sent, group=group)
    return torch.cat(received.unbind(0), dim=cat_dim)
