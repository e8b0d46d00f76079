"""Attention of one process: torch's fused kernels, and one written for the CPUs on which those are slow."""

from __future__ import annotations

import functools
import math
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, get_args

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

QKVFormat = Literal["bhsd", "bshd"]
Backend = Literal["math", "efficient", "cudnn", "flash"]
_KERNELS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "math": SDPBackend.MATH,
}

# Scores of at most this many elements are held at once; longer ones are made for a few queries at a time.
_SCORES_AT_ONCE = 16 * 1024 * 1024


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, scale: float | None = None) -> Tensor:
    """Return softmax attention of `q` `[..., Lq, H, D]` over `k` `[..., Lk, H, D]` and `v` `[..., Lk, H, Dv]`.

    Leading dims are the same for all three. `mask` broadcasts to `[..., H, Lq, Lk]`: boolean (True attends, at least
    one per query) or a float added to the scores. `scale` defaults to `1 / sqrt(D)`. Returns `[..., Lq, H, Dv]`.
    Differentiable. Where `explicit_is_faster`, and with a mask on any CPU, it is an explicit product, softmax and
    product in the inputs' dtype.
    """
    _check_shapes(q, k, v, mask)
    scale = 1.0 / math.sqrt(q.shape[-1]) if scale is None else scale
    q, k, v = q.transpose(-3, -2), k.transpose(-3, -2), v.transpose(-3, -2)
    if explicit_is_faster(q.device, q.dtype) or (q.device.type == "cpu" and mask is not None):
        return _explicit(q * scale, k.transpose(-2, -1), v, mask).transpose(-3, -2)
    if mask is not None and mask.dtype != torch.bool:
        mask = mask.to(q.dtype)
    return _fused(q, k, v, mask, scale).transpose(-3, -2)


def explicit_is_faster(device: torch.device, dtype: torch.dtype) -> bool:
    """Return True if products and a softmax beat torch's fused kernel on `device`: in 16 bits on most CPUs.

    There they are two to three times faster, most of all with keys in the memory order of `BlockKVCache`. With tile
    registers (AMX) for bfloat16 the fused kernel takes half of their time, and in 32 bits it is faster on every CPU.
    """
    return device.type == "cpu" and dtype.itemsize == 2 and not (dtype == torch.bfloat16 and has_tiles())


@functools.cache
def has_tiles() -> bool:
    """Return True if the processor multiplies bfloat16 matrices in tile registers."""
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # not in every release since 2.9
    return bool(capabilities.get("amx_bf16", False))


class NativeAttention(nn.Module):
    """`attend` as a module without parameters, for one process that holds the whole sequence."""

    cp_group: dist.ProcessGroup | None = None
    """The processes that share the sequence; None is this process alone."""

    def __init__(self, qkv_format: QKVFormat = "bhsd", backend: Backend | None = "cudnn") -> None:
        """`qkv_format`: `bshd` has the sequence before the heads, `bhsd` the heads before the sequence. `backend`: the
        kernel to try first on a GPU; None leaves the choice to torch, and a CPU has kernels of its own."""
        super().__init__()
        check_choice("qkv_format", qkv_format, get_args(QKVFormat))
        if backend is not None:
            check_choice("backend", backend, get_args(Backend))
        self.qkv_format, self.backend = qkv_format, backend

    def set_context_parallel_group(self, cp_group: dist.ProcessGroup | None) -> None:
        """Accept None or a group of one process. Raises ValueError for more: see `ContextParallelAttention`."""
        if cp_group is not None and dist.get_world_size(cp_group) > 1:
            raise ValueError(
                f"NativeAttention serves one process, the group has {dist.get_world_size(cp_group)}: "
                "use ContextParallelAttention"
            )
        self.cp_group = cp_group

    def is_context_parallel_enabled(self) -> bool:
        """Return whether several processes share the sequence."""
        return self.context_parallel_size() > 1

    def context_parallel_size(self) -> int:
        """Return the number of processes that share the sequence."""
        return 1 if self.cp_group is None else dist.get_world_size(self.cp_group)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return attend, with all tensors and the result in `qkv_format`; see `attend` for `mask`."""
        if self.qkv_format == "bshd":
            return self._attend(query, key, value, mask)
        query, key, value = (x.transpose(-3, -2) for x in (query, key, value))
        return self._attend(query, key, value, mask).transpose(-3, -2)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Return `q` `[..., Lq, H, D]`, `k`, `v` `[..., Lk, H, D]` -> `[..., Lq, H, D]`."""
        with preferring(self.backend, q.device):
            return attend(q, k, v, mask)


def preferring(backend: Backend | None, device: torch.device) -> AbstractContextManager[None]:
    """Return a context in which torch's attention tries `backend` first on a GPU, and its others after it."""
    if backend is None or device.type != "cuda":
        return nullcontext()
    first = _KERNELS[backend]
    rest = [each for each in _KERNELS.values() if each is not first]
    context: AbstractContextManager[None] = sdpa_kernel([first, *rest], set_priority=True)
    return context


def check_choice(name: str, value: object, accepted: tuple[str, ...]) -> None:
    """Raise ValueError unless `value` is one of the `accepted` ones."""
    if value not in accepted:
        raise ValueError(f"{name} must be {' or '.join(map(repr, accepted))}, got {value!r}")


def _fused(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Return torch's attention over `[..., H, L, D]` with one batch dim, as its fused kernels need."""
    if q.ndim == 4:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    batch = q.shape[:-3]
    if mask is not None and mask.ndim > 3:
        mask = mask.expand(*batch, *mask.shape[-3:]).reshape(-1, *mask.shape[-3:])
    q, k, v = (x.reshape(batch.numel(), *x.shape[-3:]) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale).reshape(
        *batch, *q.shape[-3:-1], v.shape[-1]
    )


def _explicit(q: Tensor, k_t: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Return `softmax(q @ k_t + mask) @ v`, heads before the sequence, by blocks of queries where it is large."""
    rows = q.shape[-2]
    row_scores = q.shape[:-2].numel() * k_t.shape[-1]
    step = max(1, _SCORES_AT_ONCE // max(1, row_scores))
    if step >= rows:
        return _explicit_block(q, k_t, v, mask)
    blocks = []
    for start in range(0, rows, step):
        block_mask = (
            mask if mask is None or mask.ndim < 2 or mask.shape[-2] == 1 else mask[..., start : start + step, :]
        )
        blocks.append(_explicit_block(q[..., start : start + step, :], k_t, v, block_mask))
    return torch.cat(blocks, dim=-2)


def _explicit_block(q: Tensor, k_t: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    scores = q @ k_t
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask.to(scores.dtype)
    if scores.requires_grad or torch.compiler.is_compiling():
        return scores.softmax(dim=-1) @ v
    # Scores are the largest tensor by far: overwriting them saves a fresh allocation, a fifth to half of the time.
    torch.softmax(scores, dim=-1, out=scores)
    return scores @ v


def _check_shapes(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> None:
    if q.ndim < 3 or q.ndim != k.ndim or k.ndim != v.ndim:
        raise ValueError(f"q, k, v must be [..., L, H, D] alike, got {list(q.shape)}, {list(k.shape)}, {list(v.shape)}")
    same_batch = q.shape[:-3] == k.shape[:-3] == v.shape[:-3] and q.shape[-2] == k.shape[-2] == v.shape[-2]
    if not same_batch or q.shape[-1] != k.shape[-1] or k.shape[-3] != v.shape[-3]:
        raise ValueError(
            "q, k, v must agree in batch and heads, q and k in head dim, k and v in length, "
            f"got {list(q.shape)}, {list(k.shape)}, {list(v.shape)}"
        )
    if k.shape[-3] == 0:
        raise ValueError("k and v hold no tokens: there is nothing to attend to")
    if mask is not None and mask.dtype != torch.bool and not mask.is_floating_point():
        raise TypeError(f"mask must be boolean or floating point, got {mask.dtype}")
