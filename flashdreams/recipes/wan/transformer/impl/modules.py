"""The layers of a Wan diffusion transformer block: attention over a cache, cross-attention, modulation, head.

Parameter names are those of the official Wan checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flashdreams.core.attention import BlockKVCache, RopeTable, apply_rope_freqs, attend

Rope = RopeTable | tuple[RopeTable, RopeTable]
"""Rotation of this chunk's queries and keys; a pair is (queries, all cached keys) for keys stored unrotated."""
Parts = tuple[Tensor, ...]
"""Shift, factor and gate `[..., G, dim]`, once or twice, for G equal runs of the tokens."""
Memory = Callable[[Tensor, Tensor, Tensor], Tensor]
"""What self-attention attends with: unrotated q, k, v `[..., L, H, D]` of the present tokens -> `[..., L, H, D]`.

It rotates, remembers and attends; `StreamingMemory` against a KV cache, training against a whole clip at once.
"""


def sinusoid(positions: Tensor, dim: int) -> Tensor:
    """Sinusoidal embedding fp32 `[..., dim]` of `positions [...]`: cosines, then sines, computed in fp64."""
    half, device = dim // 2, positions.device
    if device.type == "mps":  # It has no fp64.
        positions = positions.cpu()
    speeds = torch.pow(10000.0, -torch.arange(half, dtype=torch.float64, device=positions.device) / half)
    angles = positions.to(torch.float64).unsqueeze(-1) * speeds
    return torch.cat([angles.cos(), angles.sin()], dim=-1).float().to(device)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """`x (1 + scale) + shift`: `x [..., L, D]`, `shift` and `scale [..., G, D]` for G equal runs of the L tokens."""
    return shifted_product(x, shift, 1 + scale)


def shifted_product(x: Tensor, shift: Tensor, factor: Tensor) -> Tensor:
    """`x factor + shift`, for runs of tokens as in `modulate`."""
    groups = shift.shape[-2]
    if groups == 1 or groups == x.shape[-2]:
        return torch.addcmul(shift, x, factor)
    runs = x.unflatten(-2, (groups, -1))
    return torch.addcmul(shift.unsqueeze(-2), runs, factor.unsqueeze(-2)).flatten(-3, -2)


def gated_sum(x: Tensor, y: Tensor, gate: Tensor) -> Tensor:
    """`x + y gate`, the gate given for runs of tokens as in `modulate`."""
    groups = gate.shape[-2]
    if groups == 1 or groups == x.shape[-2]:
        return torch.addcmul(x, y, gate)
    runs = (groups, -1)
    return torch.addcmul(x.unflatten(-2, runs), y.unflatten(-2, runs), gate.unsqueeze(-2)).flatten(-3, -2)


class RMSNorm(nn.Module):
    """Root-mean-square norm over the last dimension, statistics in fp32."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_grad_enabled():
            return F.rms_norm(x, (x.shape[-1],), self.weight, self.eps)
        # On a CPU torch's own allocates several tensors of this size, which takes up to four times as long.
        mean_square = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1])
        return (x * mean_square.add_(self.eps).rsqrt_()).mul_(self.weight)


class TanhGELU(nn.Module):
    """GELU in its tanh form; in place without gradients, since a block's widest tensor is costly to allocate anew."""

    def forward(self, x: Tensor) -> Tensor:
        if x.requires_grad or torch.compiler.is_compiling():
            return F.gelu(x, approximate="tanh")
        return torch.ops.aten.gelu_(x, approximate="tanh")


class SelfAttention(nn.Module):
    """Attention of a chunk's tokens to what a memory holds, themselves included."""

    def __init__(self, dim: int, num_heads: int, eps: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q, self.k, self.v, self.o = (nn.Linear(dim, dim) for _ in range(4))
        self.norm_q, self.norm_k = RMSNorm(dim, eps), RMSNorm(dim, eps)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        heads = (self.num_heads, -1)
        q = self.norm_q(self.q(x)).unflatten(-1, heads)
        k = self.norm_k(self.k(x)).unflatten(-1, heads)
        return self.attended(memory(q, k, self.v(x).unflatten(-1, heads)))

    def attended(self, answers: Tensor) -> Tensor:
        """What `forward` gives for a memory's `answers [..., L, H, D]`."""
        return self.o(answers.flatten(-2))


@dataclass
class CrossKV:
    """Keys and values `[..., L, H, D]` of a prompt and, in image-to-video networks, of an image."""

    k: Tensor
    v: Tensor
    k_img: Tensor | None = None
    v_img: Tensor | None = None


class CrossAttention(nn.Module):
    """Attention to the prompt, and to an image where the network has that branch."""

    def __init__(self, dim: int, num_heads: int, eps: float, with_image: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q, self.k, self.v, self.o = (nn.Linear(dim, dim) for _ in range(4))
        self.norm_q, self.norm_k = RMSNorm(dim, eps), RMSNorm(dim, eps)
        if with_image:
            self.k_img, self.v_img, self.norm_k_img = nn.Linear(dim, dim), nn.Linear(dim, dim), RMSNorm(dim, eps)

    def keys_values(self, context: Tensor, image: Tensor | None) -> CrossKV:
        """Once per rollout (or text event): keys and values of the embedded prompt `[..., L, dim]` and image."""
        heads = (self.num_heads, -1)
        kv = CrossKV(self.norm_k(self.k(context)).unflatten(-1, heads), self.v(context).unflatten(-1, heads))
        if image is not None:
            kv.k_img = self.norm_k_img(self.k_img(image)).unflatten(-1, heads)
            kv.v_img = self.v_img(image).unflatten(-1, heads)
        return kv

    def forward(self, x: Tensor, kv: CrossKV) -> Tensor:
        q = self.norm_q(self.q(x)).unflatten(-1, (self.num_heads, -1))
        out = attend(q, kv.k, kv.v)
        if kv.k_img is not None and kv.v_img is not None:
            out = out + attend(q, kv.k_img, kv.v_img)
        return self.o(out.flatten(-2))


class Block(nn.Module):
    """One transformer block: modulated self-attention, cross-attention, modulated feed-forward."""

    def __init__(
        self, dim: int, ffn_dim: int, num_heads: int, eps: float, cross_attn_norm: bool, with_image: bool
    ) -> None:
        super().__init__()
        self.dim, self.eps = dim, eps
        self.self_attn = SelfAttention(dim, num_heads, eps)
        self.norm3 = nn.LayerNorm(dim, eps) if cross_attn_norm else nn.Identity()
        self.cross_attn = CrossAttention(dim, num_heads, eps, with_image)
        self.ffn = nn.Sequential(nn.Linear(dim, ffn_dim), TanhGELU(), nn.Linear(ffn_dim, dim))
        self.modulation = nn.Parameter(torch.randn(1, 6, dim) / math.sqrt(dim))

    def modulation_of(self, timestep: Tensor) -> Parts:
        """What a projected timestep `[..., G, 6, dim]` makes of this block: six tensors `[..., G, dim]`."""
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = (self.modulation.to(timestep.dtype) + timestep).unbind(-2)
        return shift_a, 1 + scale_a, gate_a, shift_f, 1 + scale_f, gate_f

    def forward(self, x: Tensor, modulation: Parts, memory: Memory, cross: CrossKV, **extra: Any) -> Tensor:
        """`x [..., L, dim]`, `modulation` of G equal runs of the tokens as `modulation_of` gives it."""
        shift_a, factor_a, gate_a, shift_f, factor_f, gate_f = modulation
        y = shifted_product(F.layer_norm(x, (self.dim,), eps=self.eps), shift_a, factor_a)
        x = gated_sum(x, self.self_attn(y, memory), gate_a)
        x = self.inject(x, **extra)
        x = x + self.cross_attn(self.norm3(x), cross)
        y = shifted_product(F.layer_norm(x, (self.dim,), eps=self.eps), shift_f, factor_f)
        return gated_sum(x, self.ffn(y), gate_f)

    def inject(self, x: Tensor) -> Tensor:
        """Where a model with more controls (a camera, say) adds them: between self-attention and cross-attention."""
        return x


class Head(nn.Module):
    """Last norm, modulation and projection to patches."""

    def __init__(self, dim: int, out_features: int, eps: float) -> None:
        super().__init__()
        self.dim, self.eps = dim, eps
        self.head = nn.Linear(dim, out_features)
        self.modulation = nn.Parameter(torch.randn(1, 2, dim) / math.sqrt(dim))

    def modulation_of(self, timestep: Tensor) -> Parts:
        """What an embedded timestep `[..., G, dim]` makes of the head: two tensors of its shape."""
        shift, scale = (self.modulation.to(timestep.dtype) + timestep.unsqueeze(-2)).unbind(-2)
        return shift, 1 + scale

    def forward(self, x: Tensor, modulation: Parts) -> Tensor:
        """`x [..., L, dim]`, `modulation` as in a block."""
        return self.head(shifted_product(F.layer_norm(x, (self.dim,), eps=self.eps), *modulation))


class ImageProjection(nn.Module):
    """CLIP features `[..., 257, 1280]` -> tokens `[..., 257, dim]`."""

    def __init__(self, in_dim: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Sequential(
            nn.LayerNorm(in_dim), nn.Linear(in_dim, in_dim), nn.GELU(), nn.Linear(in_dim, dim), nn.LayerNorm(dim)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)


class StreamingMemory:
    """A layer's KV cache as self-attention's memory, for the chunk whose slots `cache.before_update` has chosen."""

    def __init__(self, cache: BlockKVCache, rope: Rope, attention: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        self.cache, self.rope, self.attention = cache, rope, attention

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if isinstance(self.rope, tuple):
            self.cache.update(k, v)
            of_queries, of_cached_keys = self.rope
            q, k = apply_rope_freqs(q, of_queries), apply_rope_freqs(self.cache.cached_k(), of_cached_keys)
        else:
            q = apply_rope_freqs(q, self.rope)
            self.cache.update(apply_rope_freqs(k, self.rope), v)
            k = self.cache.cached_k()
        return self.attention(q, k, self.cache.cached_v())
