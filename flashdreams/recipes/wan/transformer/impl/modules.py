"""The layers of a Wan diffusion transformer block: attention over a KV cache, cross-attention, modulation, head.

Parameter names are those of the official Wan checkpoints.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.distributed import ProcessGroup

from flashdreams.core.attention import (
    BlockKVCache,
    NativeAttention,
    RopeTable,
    apply_rope_freqs,
    rope_table,
)
from flashdreams.core.distributed.context_parallel import group_size
from flashdreams.recipes.attention import attention_for
from flashdreams.recipes.wan.transformer.impl.caches import (
    AttentionOverMemory,
    BlockCache,
    CrossAttnCache,
    KeysValues,
    overwrite,
)
from flashdreams.recipes.wan.transformer.impl.functional import (
    RMSNorm,
    TanhGELU,
    gated_sum,
    shifted_product,
    sinusoidal_embedding_1d,
)

RopeFreqs = Tensor | RopeTable
"""Angles `[L, 1, 1, head_dim]` as the RoPE classes give them, or the table made of them once for many calls."""
Rope = RopeFreqs | tuple[RopeFreqs, RopeFreqs]
"""Rotation of this chunk's queries and keys; a pair is (queries, all cached keys) for keys stored unrotated."""
Parts = tuple[Tensor, ...]
"""Shift, factor and gate `[..., G, dim]`, once or twice, for G equal runs of the tokens."""
__all__ = [
    "AttentionOverMemory",
    "Block",
    "BlockCache",
    "CrossAttention",
    "CrossAttnCache",
    "Head",
    "KeysValues",
    "MLPProj",
    "MultiHeadAttention",
    "SelfAttention",
    "overwrite",
    "sinusoidal_embedding_1d",
]


class MultiHeadAttention(nn.Module):
    """Attention of tokens to the keys and values in a cache; queries and keys are normalised over all heads."""

    attn_op: NativeAttention
    """The attention itself, of one process or of several that share the tokens."""

    def __init__(
        self,
        query_dim: int,
        context_dim: int | None = None,
        n_heads: int = 8,
        head_dim: int = 64,
        eps: float = 1e-6,
        apply_rope_before_kvcache: bool = True,
        cp_method: Literal["ring", "ulysses"] = "ring",
    ) -> None:
        """`context_dim`: features of the tokens that keys and values are made of; None is `query_dim`."""
        super().__init__()
        self.n_heads, self.head_dim = n_heads, head_dim
        self.apply_rope_before_kvcache, self.cp_method = apply_rope_before_kvcache, cp_method
        inner, context_dim = n_heads * head_dim, query_dim if context_dim is None else context_dim
        self.q, self.k = nn.Linear(query_dim, inner), nn.Linear(context_dim, inner)
        self.v, self.o = nn.Linear(context_dim, inner), nn.Linear(inner, query_dim)
        self.norm_q, self.norm_k = RMSNorm(inner, eps), RMSNorm(inner, eps)
        self.set_context_parallel_group(None)

    def set_context_parallel_group(self, cp_group: ProcessGroup | None) -> None:
        """Share the tokens among the processes of `cp_group`; None is one process."""
        self.attn_op = attention_for(cp_group, self.cp_method)
        self._cp_size = group_size(cp_group)

    def is_context_parallel_enabled(self) -> bool:
        """Return True where several processes share the tokens."""
        return self._cp_size > 1

    def context_parallel_size(self) -> int:
        """Return the number of processes that share the tokens."""
        return self._cp_size

    def queries(self, x: Tensor) -> Tensor:
        """Return the unrotated queries `[..., L, H, D]` of `x [..., L, query_dim]`."""
        return self.norm_q(self.q(x)).unflatten(-1, (self.n_heads, -1))

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the unrotated keys and the values `[..., L, H, D]` of `x [..., L, context_dim]`."""
        heads = (self.n_heads, -1)
        return self.norm_k(self.k(x)).unflatten(-1, heads), self.v(x).unflatten(-1, heads)

    def compute_kv(self, x: Tensor, rope_freqs: RopeFreqs | None = None) -> BlockKVCache:
        """Return a full cache of the keys and values of `x [..., L, context_dim]`."""
        k, v = self.keys_values(x)
        return BlockKVCache.from_tensor(_rotated(k, rope_freqs), v, seq_dim=-3)

    def update_kv(self, x: Tensor, kv_cache: BlockKVCache, rope_freqs: RopeFreqs | None = None) -> BlockKVCache:
        """Write the keys and values of `x` into the slots that `kv_cache.before_update` chose; return the cache."""
        k, v = self.keys_values(x)
        kv_cache.update(_rotated(k, rope_freqs), v)
        return kv_cache

    def apply_kv(
        self,
        x: Tensor,
        kv_cache: BlockKVCache,
        rope_freqs_q: RopeFreqs | None = None,
        rope_freqs_k: RopeFreqs | None = None,
    ) -> Tensor:
        """Return the attention of `x [..., L, query_dim]` to all that `kv_cache` holds, in the shape of `x`."""
        q, k = _rotated(self.queries(x), rope_freqs_q), _rotated(kv_cache.ring_k(), rope_freqs_k)
        return self.o(self.attn_op(q, k, kv_cache.ring_v()).flatten(-2))

    def forward(
        self,
        x: Tensor,
        kv_cache: BlockKVCache,
        rope_freqs: Rope | None = None,
        update_kv_cache: bool = True,
    ) -> Tensor:
        """Write the keys and values of `x` into the cache, unless told otherwise, and return `apply_kv`.

        With `apply_rope_before_kvcache` the `rope_freqs` are those of `x`. Without, keys are stored unrotated, and
        `rope_freqs` are a pair (of `x`, of all cached keys) or the angles of all places in the cache in time order.
        """
        if rope_freqs is None or self.apply_rope_before_kvcache:
            assert not isinstance(rope_freqs, tuple)
            if update_kv_cache:
                self.update_kv(x, kv_cache, rope_freqs)
            return self.apply_kv(x, kv_cache, rope_freqs)
        if update_kv_cache:
            self.update_kv(x, kv_cache)
        of_queries, of_keys = rope_freqs if isinstance(rope_freqs, tuple) else _by_place(rope_freqs, kv_cache, x)
        return self.apply_kv(x, kv_cache, of_queries, of_keys)


class SelfAttention(MultiHeadAttention):
    """Attention of a chunk's tokens to the newest chunks of a rollout, themselves included."""

    def initialize_cache(
        self,
        batch_size: int | tuple[int, ...],
        chunk_size: int,
        window_size: int,
        sink_size: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> BlockKVCache:
        """Return an empty cache; sizes are in tokens, `batch_size` may be the shape of several leading dims."""
        batch = (batch_size,) if isinstance(batch_size, int) else tuple(batch_size)
        shape = (*batch, chunk_size, self.n_heads, self.head_dim)
        return BlockKVCache(shape, shape, -3, chunk_size, window_size, sink_size, device, dtype)

    def forward(  # type: ignore[override]
        self, x: Tensor, kv_cache: BlockKVCache | AttentionOverMemory, rope_freqs: Rope | None
    ) -> Tensor:
        """Return the attention of `x [..., L, dim]` to the cache, in which its keys and values then are."""
        if isinstance(kv_cache, BlockKVCache):
            return super().forward(x, kv_cache, rope_freqs)
        q, (k, v) = self.queries(x), self.keys_values(x)
        return self.attended(kv_cache(q, k, v))

    def attended(self, answers: Tensor) -> Tensor:
        """Return the output for the `answers [..., L, H, D]` of an attention over a memory."""
        return self.o(answers.flatten(-2))


class CrossAttention(MultiHeadAttention):
    """Attention to the prompt, and to an image where the network has that branch."""

    def __init__(
        self, i2v: bool = False, cp_method: Literal["ring", "ulysses"] = "ring", *args: Any, **kwargs: Any
    ) -> None:
        """`i2v` adds the branch of the image; all else is as in `MultiHeadAttention`."""
        super().__init__(*args, cp_method=cp_method, **kwargs)  # type: ignore[misc]
        self.i2v = i2v
        if i2v:
            inner, features = self.k.out_features, self.k.in_features
            self.k_img, self.v_img = nn.Linear(features, inner), nn.Linear(features, inner)
            self.norm_k_img = RMSNorm(inner, self.norm_k.eps)

    def image_keys_values(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values `[..., L, H, D]` of an embedded image `[..., L, dim]`."""
        heads = (self.n_heads, -1)
        return self.norm_k_img(self.k_img(context)).unflatten(-1, heads), self.v_img(context).unflatten(-1, heads)

    def compute_kv_image(self, context: Tensor) -> BlockKVCache:
        """Return a full cache of the keys and values of an embedded image `[..., L, dim]`."""
        return BlockKVCache.from_tensor(*self.image_keys_values(context), seq_dim=-3)

    def initialize_cache(self, context_text: Tensor, context_img: Tensor | None = None) -> CrossAttnCache:
        """Return the keys and values of an embedded prompt and image, computed once per rollout."""
        image = None if context_img is None else self.compute_kv_image(context_img)
        return CrossAttnCache(self.compute_kv(context_text), image)

    def differentiable_cache(self, context_text: Tensor, context_img: Tensor | None = None) -> CrossAttnCache:
        """Return the same as `initialize_cache`, but with gradients and without a copy."""
        image = None if context_img is None else KeysValues(*self.image_keys_values(context_img))
        return CrossAttnCache(KeysValues(*self.keys_values(context_text)), image)

    def forward(self, x: Tensor, kv_cache: CrossAttnCache) -> Tensor:  # type: ignore[override]
        """Return the attention of `x [..., L, dim]` to the prompt, and to the image if there is one."""
        q = self.queries(x)
        out = self.attn_op(q, kv_cache.text.cached_k(), kv_cache.text.cached_v())
        if kv_cache.img is not None:
            out = out + self.attn_op(q, kv_cache.img.cached_k(), kv_cache.img.cached_v())
        return self.o(out.flatten(-2))


class Block(nn.Module):
    """One transformer block: modulated self-attention, cross-attention, modulated feed-forward."""

    modulation: nn.Parameter

    def __init__(
        self,
        dim: int,
        ffn_dim: int,
        num_heads: int,
        cross_attn_norm: bool = True,
        eps: float = 1e-6,
        i2v: bool = False,
        apply_rope_before_kvcache: bool = True,
        cp_method: Literal["ring", "ulysses"] = "ring",
    ) -> None:
        """`i2v` adds a branch for image features to cross-attention."""
        super().__init__()
        self.dim, self.num_heads, self.eps = dim, num_heads, eps
        sizes: dict[str, Any] = {"query_dim": dim, "n_heads": num_heads, "head_dim": dim // num_heads, "eps": eps}
        self.norm1 = nn.LayerNorm(dim, eps, elementwise_affine=False)
        self.self_attn = SelfAttention(
            **sizes, apply_rope_before_kvcache=apply_rope_before_kvcache, cp_method=cp_method
        )
        self.norm3 = nn.LayerNorm(dim, eps) if cross_attn_norm else nn.Identity()
        self.cross_attn = CrossAttention(i2v, cp_method, **sizes)
        self.norm2 = nn.LayerNorm(dim, eps, elementwise_affine=False)
        self.ffn = nn.Sequential(nn.Linear(dim, ffn_dim), TanhGELU(), nn.Linear(ffn_dim, dim))
        self.modulation = nn.Parameter(torch.randn(1, 6, dim) / math.sqrt(dim))

    def initialize_cache(
        self,
        chunk_size: int,
        window_size: int,
        sink_size: int,
        context_text: Tensor,
        context_img: Tensor | None = None,
    ) -> BlockCache:
        """Return a new rollout's state: sizes in tokens, `context_text [..., L, dim]` an embedded prompt."""
        batch, weight = tuple(context_text.shape[:-2]), self.self_attn.q.weight
        sizes = (batch, chunk_size, window_size, sink_size)
        own = self.self_attn.initialize_cache(*sizes, device=weight.device, dtype=weight.dtype)
        return BlockCache(own, self.cross_attn.initialize_cache(context_text, context_img))

    def set_context_parallel_group(self, cp_group: ProcessGroup | None) -> None:
        """Share the tokens of self-attention among the processes of `cp_group`; every one has the whole prompt."""
        self.self_attn.set_context_parallel_group(cp_group)

    def update_parameters_after_loading_checkpoint(self) -> None:
        """Change nothing: the official weights of a block are used as they are."""

    def modulation_of(self, timestep: Tensor) -> Parts:
        """Return the six tensors `[..., G, dim]` that a projected timestep `[..., G, 6, dim]` makes of this block."""
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = (self.modulation.to(timestep.dtype) + timestep).unbind(-2)
        return shift_a, 1 + scale_a, gate_a, shift_f, 1 + scale_f, gate_f

    def forward(self, x: Tensor, e: Tensor | Parts, cache: BlockCache, rope_freqs: Rope | None, **extra: Any) -> Tensor:
        """Return the block's output for `x [..., L, dim]`.

        `e` is a projected timestep, `[..., 6, dim]` for all tokens or `[..., G, 6, dim]` for G equal runs of them, or
        what `modulation_of` made of it before. `extra` goes to `inject` and `inject_after_cross`.
        """
        if isinstance(e, Tensor):
            e = self.modulation_of(e if e.dim() > x.dim() else e.unsqueeze(-3))
        shift_a, factor_a, gate_a, shift_f, factor_f, gate_f = e
        y = shifted_product(self.norm1(x), shift_a, factor_a)
        x = gated_sum(x, self.self_attn(y, cache.self_attn, rope_freqs), gate_a)
        x = self.inject(x, **extra)
        x = x + self.cross_attn(self.norm3(x), cache.cross_attn)
        x = self.inject_after_cross(x, cache, **extra)
        y = shifted_product(self.norm2(x), shift_f, factor_f)
        return gated_sum(x, self.ffn(y), gate_f)

    def inject(self, x: Tensor) -> Tensor:
        """Add further controls (a camera, say) between self-attention and cross-attention; here there are none."""
        return x

    def inject_after_cross(self, x: Tensor, cache: BlockCache, **extra: Any) -> Tensor:
        """Add controls with caches of their own between cross-attention and feed-forward; here there are none."""
        return x


class Head(nn.Module):
    """Last norm, modulation and projection to patches."""

    modulation: nn.Parameter

    def __init__(self, dim: int, out_dim: int, patch_size: tuple[int, int, int], eps: float = 1e-6) -> None:
        """`out_dim`: channels of a latent position."""
        super().__init__()
        self.dim, self.eps, self.patch_size = dim, eps, tuple(patch_size)
        self.norm = nn.LayerNorm(dim, eps, elementwise_affine=False)
        self.head = nn.Linear(dim, math.prod(patch_size) * out_dim)
        self.modulation = nn.Parameter(torch.randn(1, 2, dim) / math.sqrt(dim))

    @torch.no_grad()
    def update_parameters_after_loading_checkpoint(self) -> None:
        """Permute the projection of an official checkpoint, which emits patches as (kt kh kw c), to (c kt kh kw)."""
        kt, kh, kw = self.patch_size
        for p in (self.head.weight, self.head.bias):
            p.copy_(rearrange(p, "(kt kh kw c) ... -> (c kt kh kw) ...", kt=kt, kh=kh, kw=kw).clone())

    def modulation_of(self, timestep: Tensor) -> Parts:
        """Return the two tensors that an embedded timestep `[..., G, dim]` makes of the head, of its shape."""
        shift, scale = (self.modulation.to(timestep.dtype) + timestep.unsqueeze(-2)).unbind(-2)
        return shift, 1 + scale

    def forward(self, x: Tensor, e: Tensor | Parts) -> Tensor:
        """Return patches for `x [..., L, dim]`; `e [..., dim]` or `[..., G, dim]` is an embedded timestep, or parts."""
        if isinstance(e, Tensor):
            e = self.modulation_of(e if e.dim() >= x.dim() else e.unsqueeze(-2))
        return self.head(shifted_product(self.norm(x), *e))


class MLPProj(nn.Module):
    """CLIP features `[..., 257, in_dim]` -> tokens `[..., 257, out_dim]`."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.proj = nn.Sequential(
            nn.LayerNorm(in_dim),
            nn.Linear(in_dim, in_dim),
            nn.GELU(),
            nn.Linear(in_dim, out_dim),
            nn.LayerNorm(out_dim),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the projected features."""
        return self.proj(x)


def _rotated(x: Tensor, freqs: RopeFreqs | None) -> Tensor:
    return x if freqs is None else apply_rope_freqs(x, freqs, interleaved=True)


def _by_place(freqs: RopeFreqs, kv_cache: BlockKVCache, x: Tensor) -> tuple[RopeFreqs, RopeFreqs]:
    """Of the angles of all places in time order: those of the newest chunk, and of the cached keys in their order."""
    pairs = rope_table(freqs, interleaved=True).pairs if isinstance(freqs, Tensor) else freqs.pairs
    length, size, sink = x.shape[-2], kv_cache.size, kv_cache.sink_size
    if len(pairs) < size:
        raise ValueError(f"rope_freqs must have the angles of all {size} places in the cache, got {len(pairs)}")
    seen = ((kv_cache.chunk_idx or 0) + 1) * kv_cache.chunk_size
    keys = pairs[:size]
    if seen > size:  # The window is a ring: its first slot holds a token as old as the ring has turned.
        keys = torch.cat([keys[:sink], keys[sink:].roll((seen - sink) % kv_cache.window_size, 0)])
    return RopeTable(pairs[size - length : size]), RopeTable(keys)
