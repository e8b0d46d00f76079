"""The layers of a Cosmos-Predict2 transformer: attention with normalised heads, and low-rank adaptive modulation.

Parameter names are those of the published Cosmos-Predict2 checkpoints. No layer here has a bias.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.nn import functional as F

from flashdreams.core.attention import BlockKVCache, NativeAttention, apply_rope_freqs
from flashdreams.core.distributed.context_parallel import group_size
from flashdreams.recipes.attention import attention_for
from flashdreams.recipes.wan.transformer.impl.functional import (
    RMSNorm,
    gated_sum,
    modulate,
    sinusoidal_embedding_1d,
)
from flashdreams.recipes.wan.transformer.impl.modules import AttentionOverMemory, KeysValues, RopeFreqs

EPS = 1e-6
Linear = partial(nn.Linear, bias=False)


class GPT2FeedForward(nn.Module):
    """Two layers around an exact GELU."""

    def __init__(self, d_model: int, d_ff: int) -> None:
        super().__init__()
        self.layer1, self.layer2 = Linear(d_model, d_ff), Linear(d_ff, d_model)

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output for `x [..., d_model]`."""
        return self.layer2(F.gelu(self.layer1(x)))


class Timesteps(nn.Module):
    """Sinusoidal embedding of timesteps, computed in fp64 whatever the module's number type."""

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.num_channels = num_channels

    @property
    def emb(self) -> Tensor:
        """Speeds of the sinusoids, fp64 `[num_channels / 2]`."""
        half = self.num_channels // 2
        return torch.pow(10000.0, -torch.arange(half, dtype=torch.float64, device="cpu") / half)

    def forward(self, timesteps: Tensor) -> Tensor:
        """Return fp32 `[..., num_channels]` for `timesteps [...]`."""
        return sinusoidal_embedding_1d(self.num_channels, timesteps)


class TimestepEmbedding(nn.Module):
    """A timestep's sinusoid to the embedding and, with low-rank modulation, to the part that all layers share."""

    def __init__(self, in_features: int, out_features: int, use_adaln_lora: bool = True) -> None:
        super().__init__()
        self.use_adaln_lora = use_adaln_lora
        self.linear_1 = nn.Linear(in_features, out_features, bias=not use_adaln_lora)
        self.linear_2 = nn.Linear(out_features, (3 if use_adaln_lora else 1) * out_features, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """`x [..., in_features]` -> the embedding `[..., out_features]` and the shared modulation `[..., 3 dim]`."""
        made = self.linear_2(F.silu(self.linear_1(x)))
        return (x, made) if self.use_adaln_lora else (made, None)


class PatchEmbed(nn.Module):
    """Patches `[..., C kt kh kw]` to tokens `[..., out_channels]`."""

    def __init__(
        self, spatial_patch_size: int, temporal_patch_size: int, in_channels: int = 3, out_channels: int = 768
    ) -> None:
        super().__init__()
        self._features = in_channels * temporal_patch_size * spatial_patch_size**2
        self.proj = nn.Sequential(nn.Identity(), Linear(self._features, out_channels))  # files count the patchify

    def get_linear_in_channels(self) -> int:
        """Return the number of values in a patch."""
        return self._features

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens of patches `x`."""
        return self.proj(x)


class Modulation(nn.Sequential):
    """Shift, scale and, in blocks, gate: low-rank in the timestep beside a shared part, or one layer without it."""

    def __init__(self, dim: int, rank: int | None, parts: int = 3) -> None:
        """`rank=None` is a single layer."""
        layers = [Linear(dim, parts * dim)] if rank is None else [Linear(dim, rank), Linear(rank, parts * dim)]
        super().__init__(nn.SiLU(), *layers)
        self.parts, self.width = parts, parts * dim

    def of(self, emb: Tensor, adaln_lora: Tensor | None) -> tuple[Tensor, ...]:
        """`emb [..., G, dim]`, `adaln_lora [..., G, 3 dim]` -> `parts` tensors `[..., G, dim]`."""
        made = self(emb)
        return (made if adaln_lora is None else made + adaln_lora[..., : self.width]).chunk(self.parts, dim=-1)


class FinalLayer(nn.Module):
    """Last norm, modulation and projection to patches."""

    def __init__(
        self,
        hidden_size: int,
        spatial_patch_size: int,
        temporal_patch_size: int,
        out_channels: int,
        use_adaln_lora: bool = False,
        adaln_lora_dim: int = 256,
    ) -> None:
        super().__init__()
        self.dim = hidden_size
        self.linear = Linear(hidden_size, spatial_patch_size**2 * temporal_patch_size * out_channels)
        self.adaln_modulation = Modulation(hidden_size, adaln_lora_dim if use_adaln_lora else None, parts=2)

    def forward(self, x: Tensor, emb: Tensor, adaln_lora: Tensor | None = None) -> Tensor:
        """`x [..., L, dim]` -> patches; `emb` and `adaln_lora [..., G, ...]` for G equal runs of the tokens."""
        shift, scale = self.adaln_modulation.of(emb, adaln_lora)
        return self.linear(modulate(F.layer_norm(x, (self.dim,), eps=EPS), shift, scale))


class MultiHeadAttention(nn.Module):
    """Attention of tokens to the keys and values in a cache; queries and keys are normalised head by head."""

    def __init__(
        self,
        query_dim: int,
        context_dim: int | None = None,
        n_heads: int = 8,
        head_dim: int = 64,
        cp_method: Literal["ring", "ulysses"] = "ring",
    ) -> None:
        """`context_dim`: features of the tokens that keys and values are made of; None is `query_dim`."""
        super().__init__()
        self.n_heads, self.head_dim, self.cp_method = n_heads, head_dim, cp_method
        inner, context_dim = n_heads * head_dim, query_dim if context_dim is None else context_dim
        self.q_proj, self.output_proj = Linear(query_dim, inner), Linear(inner, query_dim)
        self.k_proj, self.v_proj = Linear(context_dim, inner), Linear(context_dim, inner)
        self.q_norm, self.k_norm = RMSNorm(head_dim, EPS), RMSNorm(head_dim, EPS)
        self.set_context_parallel_group(None)

    def set_context_parallel_group(self, cp_group: ProcessGroup | None) -> None:
        """Share the tokens among the processes of `cp_group`; None is one process."""
        self.attn_op: NativeAttention = attention_for(cp_group, self.cp_method)
        self._cp_size = group_size(cp_group)

    def is_context_parallel_enabled(self) -> bool:
        """Return True where several processes share the tokens."""
        return self._cp_size > 1

    def context_parallel_size(self) -> int:
        """Return the number of processes that share the tokens."""
        return self._cp_size

    def queries(self, x: Tensor) -> Tensor:
        """Return the unrotated queries `[..., L, H, D]` of `x [..., L, query_dim]`."""
        return self.q_norm(self.q_proj(x).unflatten(-1, (self.n_heads, -1)))

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the unrotated keys and the values `[..., L, H, D]` of `x [..., L, context_dim]`."""
        heads = (self.n_heads, -1)
        return self.k_norm(self.k_proj(x).unflatten(-1, heads)), self.v_proj(x).unflatten(-1, heads)

    def compute_kv(self, x: Tensor, rope_freqs: RopeFreqs | None = None) -> BlockKVCache:
        """Return a full cache of the keys and values of `x [..., L, context_dim]`."""
        k, v = self.keys_values(x)
        return BlockKVCache.from_tensor(_rotated(k, rope_freqs), v, seq_dim=-3)

    def update_kv(self, x: Tensor, kv_cache: BlockKVCache, rope_freqs: RopeFreqs | None = None) -> BlockKVCache:
        """Write the keys and values of `x` into the slots that `kv_cache.before_update` chose; return the cache."""
        k, v = self.keys_values(x)
        kv_cache.update(_rotated(k, rope_freqs), v)
        return kv_cache

    def apply_kv(self, x: Tensor, kv_cache: BlockKVCache | KeysValues, rope_freqs: RopeFreqs | None = None) -> Tensor:
        """Return the attention of `x [..., L, query_dim]` to all that `kv_cache` holds, in the shape of `x`."""
        q = _rotated(self.queries(x), rope_freqs)
        return self.output_proj(self.attn_op(q, kv_cache.ring_k(), kv_cache.ring_v()).flatten(-2))

    def forward(
        self, x: Tensor, kv_cache: BlockKVCache, rope_freqs: RopeFreqs | None = None, update_kv_cache: bool = True
    ) -> Tensor:
        """Write the keys and values of `x` into the cache, unless told otherwise, and return `apply_kv`."""
        if update_kv_cache:
            self.update_kv(x, kv_cache, rope_freqs)
        return self.apply_kv(x, kv_cache, rope_freqs)


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
        self, x: Tensor, kv_cache: BlockKVCache | AttentionOverMemory, rope_freqs: RopeFreqs | None
    ) -> Tensor:
        """Return the attention of `x [..., L, dim]` to the cache, in which its keys and values then are."""
        if isinstance(kv_cache, BlockKVCache):
            return super().forward(x, kv_cache, rope_freqs)
        return self.output_proj(kv_cache(self.queries(x), *self.keys_values(x)).flatten(-2))


class CrossAttention(MultiHeadAttention):
    """Attention to the prompt."""

    def initialize_cache(self, context: Tensor) -> BlockKVCache:
        """Return the keys and values of an embedded prompt `[..., L, context_dim]`."""
        return self.compute_kv(context)

    def forward(self, x: Tensor, kv_cache: BlockKVCache | KeysValues) -> Tensor:  # type: ignore[override]
        """Return the attention of `x [..., L, dim]` to the prompt."""
        return self.apply_kv(x, kv_cache)


@dataclass
class BlockCache:
    """State of one rollout in one block."""

    self_attn: BlockKVCache
    """Keys and values of the newest chunks; an `AttentionOverMemory` serves as well."""
    cross_attn: BlockKVCache
    """Keys and values of the prompt."""

    def before_update(self, chunk_idx: int) -> None:
        """Choose the slots of chunk `chunk_idx`."""
        self.self_attn.before_update(chunk_idx)

    def after_update(self, chunk_idx: int) -> None:
        """End the step of chunk `chunk_idx`."""
        self.self_attn.after_update(chunk_idx)


class Block(nn.Module):
    """Self-attention, cross-attention and feed-forward, each modulated by the timestep."""

    def __init__(
        self,
        x_dim: int,
        context_dim: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        use_adaln_lora: bool = False,
        adaln_lora_dim: int = 256,
        cp_method: Literal["ring", "ulysses"] = "ring",
    ) -> None:
        super().__init__()
        self.dim = x_dim
        sizes: dict[str, Any] = {"n_heads": num_heads, "head_dim": x_dim // num_heads, "cp_method": cp_method}
        self.self_attn, self.cross_attn = SelfAttention(x_dim, **sizes), CrossAttention(x_dim, context_dim, **sizes)
        self.mlp = GPT2FeedForward(x_dim, round(x_dim * mlp_ratio))
        rank = adaln_lora_dim if use_adaln_lora else None
        self.adaln_modulation_self_attn = Modulation(x_dim, rank)
        self.adaln_modulation_cross_attn = Modulation(x_dim, rank)
        self.adaln_modulation_mlp = Modulation(x_dim, rank)

    def set_context_parallel_group(self, cp_group: ProcessGroup | None) -> None:
        """Share the tokens of self-attention among the processes of `cp_group`; every one has the whole prompt."""
        self.self_attn.set_context_parallel_group(cp_group)

    def initialize_cache(self, chunk_size: int, window_size: int, sink_size: int, context: Tensor) -> BlockCache:
        """Return a new rollout's state: sizes in tokens, `context [..., L, context_dim]` an embedded prompt."""
        batch, weight = tuple(context.shape[:-2]), self.self_attn.q_proj.weight
        sizes = (batch, chunk_size, window_size, sink_size)
        own = self.self_attn.initialize_cache(*sizes, device=weight.device, dtype=weight.dtype)
        return BlockCache(own, self.cross_attn.initialize_cache(context))

    def forward(
        self,
        x: Tensor,
        emb: Tensor,
        cache: BlockCache,
        rope_freqs: RopeFreqs | None,
        adaln_lora: Tensor | None = None,
    ) -> Tensor:
        """`x [..., L, dim]`; `emb` and `adaln_lora [..., G, ...]` for G equal runs of the tokens."""
        shift, scale, gate = self.adaln_modulation_self_attn.of(emb, adaln_lora)
        x = gated_sum(x, self.self_attn(self._modulated(x, shift, scale), cache.self_attn, rope_freqs), gate)
        shift, scale, gate = self.adaln_modulation_cross_attn.of(emb, adaln_lora)
        x = gated_sum(x, self.cross_attn(self._modulated(x, shift, scale), cache.cross_attn), gate)
        shift, scale, gate = self.adaln_modulation_mlp.of(emb, adaln_lora)
        return gated_sum(x, self.mlp(self._modulated(x, shift, scale)), gate)

    def _modulated(self, x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        return modulate(F.layer_norm(x, (self.dim,), eps=EPS), shift, scale)


def _rotated(x: Tensor, freqs: RopeFreqs | None) -> Tensor:
    return x if freqs is None else apply_rope_freqs(x, freqs, interleaved=False)
