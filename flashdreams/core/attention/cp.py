"""Attention over a sequence that several processes share: each holds a shard of the queries, keys and values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
import torch.distributed as dist
from torch import Tensor

from flashdreams.core.attention.native import NativeAttention, QKVFormat, attend, check_choice, preferring
from flashdreams.core.distributed.context_parallel import group_size

ContextParallelMethod = Literal["ring", "ulysses"]
CudaBackend = Literal["cudnn", "flash"]
Kernel = Callable[[Tensor, Tensor, Tensor, bool], tuple[Tensor, Tensor | None]]


class ContextParallelAttention(NativeAttention):
    """Attention of all queries over all keys of a group of processes; equal to one process that holds everything.

    "ring" passes keys and values from process to process and merges the partial results; any number of heads.
    "ulysses" exchanges shards so that each process sees the whole sequence for its share of the heads; the number of
    heads must be a multiple of the number of processes. Without a group it is `NativeAttention`. For inference: no
    gradients with a group.
    """

    def __init__(
        self,
        qkv_format: QKVFormat = "bhsd",
        backend: CudaBackend | None = "cudnn",
        method: ContextParallelMethod = "ring",
        convert_to_fp32: bool = True,
    ) -> None:
        """`convert_to_fp32`: merge the partial results of "ring" in fp32 instead of the type of the queries."""
        if backend is not None:
            check_choice("backend", backend, get_args(CudaBackend))
        super().__init__(qkv_format, backend)
        check_choice("method", method, get_args(ContextParallelMethod))
        self.method, self.convert_to_fp32 = method, convert_to_fp32

    def set_context_parallel_group(self, cp_group: dist.ProcessGroup | None) -> None:
        """Set the processes that share the sequence; None is this process alone."""
        self.cp_group = cp_group

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Return `q` `[..., Lq, H, D]`, `k`, `v` `[..., Lk, H, D]`, each this process's shard -> `[..., Lq, H, D]`.

        All processes must call with the same shapes.
        """
        if self.cp_group is None or group_size(self.cp_group) == 1:
            return super()._attend(q, k, v, mask)
        if mask is not None:
            raise ValueError("mask must be None where processes share the sequence")
        if torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v)):
            raise RuntimeError("context-parallel attention has no gradients: call it under torch.no_grad()")
        if self.method == "ring":
            merged_in = torch.float32 if self.convert_to_fp32 else q.dtype
            return _ring(q, k, v, self.cp_group, self._kernel(), merged_in)
        with preferring(self.backend, q.device):
            return _ulysses(q, k, v, self.cp_group)

    def _kernel(self) -> Kernel:
        return torch_sdpa_cudnn if self.backend == "cudnn" else torch_sdpa_flash


def torch_sdpa_cudnn(
    query: Tensor, key: Tensor, value: Tensor, return_lse: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Return attention over `[B, H, L, D]`, by cuDNN on a GPU, and with `return_lse` the fp32 log of its normalisers.

    The normalisers are `[B, H, L]`; None without `return_lse`.
    """
    if not query.is_cuda:
        return _explicit(query, key, value, return_lse)
    out, lse = torch.ops.aten._scaled_dot_product_cudnn_attention(query, key, value, None, return_lse)[:2]
    return out, lse.reshape(query.shape[:-1]) if return_lse else None


def torch_sdpa_flash(
    query: Tensor, key: Tensor, value: Tensor, return_lse: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Return attention as `torch_sdpa_cudnn` does, by FlashAttention on a GPU."""
    if not query.is_cuda:
        return _explicit(query, key, value, return_lse)
    out, lse = torch.ops.aten._scaled_dot_product_flash_attention(query, key, value)[:2]
    return out, lse if return_lse else None


def _explicit(query: Tensor, key: Tensor, value: Tensor, return_lse: bool) -> tuple[Tensor, Tensor | None]:
    scores = ((query * (1.0 / math.sqrt(query.shape[-1]))) @ key.transpose(-2, -1)).float()
    lse = scores.logsumexp(dim=-1)
    return (scores - lse.unsqueeze(-1)).exp().to(value.dtype) @ value, lse if return_lse else None


def _ring(q: Tensor, k: Tensor, v: Tensor, group: dist.ProcessGroup, kernel: Kernel, merged_in: torch.dtype) -> Tensor:
    """Attend to one shard of keys while the next is on its way; merge by the shards' softmax normalisers."""
    size, rank = dist.get_world_size(group), dist.get_rank(group)
    to_rank = dist.get_global_rank(group, (rank + 1) % size)
    from_rank = dist.get_global_rank(group, (rank - 1) % size)
    here = [k.contiguous(), v.contiguous()]
    total, total_lse = q.new_zeros((), dtype=merged_in), q.new_full((), -math.inf, dtype=torch.float32)
    for remaining in reversed(range(size)):
        coming, requests = here, []
        if remaining:
            coming = [torch.empty_like(x) for x in here]
            transfers = [dist.P2POp(dist.isend, x, to_rank, group) for x in here]
            transfers += [dist.P2POp(dist.irecv, x, from_rank, group) for x in coming]
            requests = dist.batch_isend_irecv(transfers)
        part, lse = _partial(q, here[0], here[1], kernel)
        merged_lse = torch.logaddexp(total_lse, lse)
        shares = ((each - merged_lse).exp().to(merged_in) for each in (total_lse, lse))
        total = total * next(shares) + part.to(merged_in) * next(shares)
        total_lse = merged_lse
        for request in requests:
            request.wait()
        here = coming
    return total.to(q.dtype)


def _partial(q: Tensor, k: Tensor, v: Tensor, kernel: Kernel) -> tuple[Tensor, Tensor]:
    """Return attention over some of the keys, `[..., Lq, H, D]`, and the log of its normaliser `[..., Lq, H, 1]`."""
    batch = q.shape[:-3]
    q, k, v = (x.transpose(-3, -2).reshape(batch.numel(), x.shape[-2], x.shape[-3], x.shape[-1]) for x in (q, k, v))
    half = q.dtype in (torch.bfloat16, torch.float16)
    out, lse = (kernel if half else _explicit)(q, k, v, True)  # kernels of a GPU take 16 bits only
    assert lse is not None
    out = out.reshape(*batch, *out.shape[1:]).transpose(-3, -2)
    return out, lse.reshape(*batch, *lse.shape[1:]).transpose(-2, -1).unsqueeze(-1)


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
