"""The network: one transformer block on the tokens of a chunk, with a KV cache of the chunks before."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.nn import functional as F

from flashdreams.core.attention import BlockKVCache, apply_rope_freqs
from flashdreams.infra.config.base import InstantiateConfig
from flashdreams.recipes.attention import attention_for


@dataclass(kw_only=True)
class TemplateDiTCache:
    """A rollout's state in the network."""

    kv_cache: BlockKVCache
    """Keys and values of the newest chunks."""
    context: Tensor
    """Embedded context tokens `[B, N, model_channels]`, such as those of a prompt."""

    def before_update(self, autoregressive_index: int) -> None:
        """Choose the slots of chunk `autoregressive_index`."""
        self.kv_cache.before_update(autoregressive_index)

    def after_update(self, autoregressive_index: int) -> None:
        """End a step of chunk `autoregressive_index`."""
        self.kv_cache.after_update(autoregressive_index)


@dataclass(kw_only=True)
class TemplateDiTConfig(InstantiateConfig):
    """Sizes of a `TemplateDiT`."""

    _target: type[TemplateDiT] = field(default_factory=lambda: TemplateDiT)

    in_channels: int = 4
    """Channels of a token: those of the latent times the positions of a patch."""
    context_channels: int = 16
    """Features of a context token."""
    model_channels: int = 64
    """Width."""
    num_heads: int = 4
    """Attention heads."""
    ffn_mult: float = 2.0
    """Width of the feed-forward layers, in `model_channels`."""
    cp_method: Literal["ring", "ulysses"] = "ring"
    """The method by which processes share attention."""


class TemplateDiT(nn.Module):
    """Self-attention over the past, cross-attention to the context, and a feed-forward layer."""

    def __init__(self, config: TemplateDiTConfig) -> None:
        super().__init__()
        self.config = config
        dim, hidden = config.model_channels, round(config.model_channels * config.ffn_mult)
        self.embed, self.unembed = nn.Linear(config.in_channels, dim), nn.Linear(dim, config.in_channels)
        self.embed_control = nn.Linear(config.in_channels, dim)
        self.embed_context = nn.Linear(config.context_channels, dim)
        self.embed_time = nn.Sequential(nn.Linear(1, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.cross = nn.MultiheadAttention(dim, config.num_heads, batch_first=True)
        self.ffn = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(4))
        self.set_context_parallel_group(None)

    def set_context_parallel_group(self, cp_group: ProcessGroup | None) -> None:
        """Share the tokens of every chunk among the processes of `cp_group`; None is one process."""
        self.attention = attention_for(cp_group, self.config.cp_method)

    def initialize_cache(
        self,
        *,
        chunk_size: int,
        window_size: int,
        sink_size: int,
        context: Tensor,
        batch_size: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> TemplateDiTCache:
        """Return a new rollout's cache; sizes are in tokens, `context [B, N, context_channels]`."""
        shape = (batch_size, chunk_size, self.config.num_heads, self.config.model_channels // self.config.num_heads)
        kv_cache = BlockKVCache(shape, shape, 1, chunk_size, window_size, sink_size, device, dtype)
        return TemplateDiTCache(kv_cache=kv_cache, context=self.embed_context(context.to(device, dtype)))

    def forward(
        self,
        noisy_latent: Tensor,
        *,
        timesteps: Tensor,
        cache: TemplateDiTCache,
        rope_freqs: Tensor,
        control: Tensor | None = None,
    ) -> Tensor:
        """Return the flow `[B, L, C]` of `noisy_latent [B, L, C]` at `timesteps` (one for all, 0 to 1000)."""
        x = self.embed(noisy_latent) + self.embed_time(timesteps.reshape(1).to(noisy_latent.dtype) / 1000)
        if control is not None:
            x = x + self.embed_control(control.to(x.dtype))
        heads = (3, self.config.num_heads, -1)
        q, k, v = self.qkv(self.norms[0](x)).unflatten(-1, heads).unbind(-3)
        cache.kv_cache.update(apply_rope_freqs(k, rope_freqs, interleaved=False), v)
        q = apply_rope_freqs(q, rope_freqs, interleaved=False)
        x = x + self.out(self.attention(q, cache.kv_cache.cached_k(), cache.kv_cache.cached_v()).flatten(-2))
        x = x + self.cross(self.norms[1](x), cache.context, cache.context, need_weights=False)[0]
        x = x + self.ffn(self.norms[2](x))
        return self.unembed(F.silu(self.norms[3](x)))
