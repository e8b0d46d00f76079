"""The Wan diffusion transformer, streaming: one chunk of tokens against per-layer KV caches.

State-dict keys are those of the official Wan 2.1 / 2.2 checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from flashdreams.core.attention import BlockKVCache, ContextParallelAttention, NativeAttention, RopeTable, rope_table
from flashdreams.core.distributed.context_parallel import cat_outputs_cp, split_inputs_cp
from flashdreams.infra.config import InstantiateConfig
from flashdreams.recipes.wan.layers import Block, CrossKV, Head, ImageProjection, Memory, StreamingMemory, sinusoid

CLIP_DIM = 1280


@dataclass(kw_only=True)
class WanDiTNetworkConfig(InstantiateConfig):
    """Sizes and options of a Wan transformer; the defaults are Wan 2.1 1.3B."""

    _target: type = field(default_factory=lambda: WanDiTNetwork)

    patch_size: tuple[int, int, int] = (1, 2, 2)
    """Latent frames, rows and columns in one token."""
    text_len: int = 512
    """Tokens of a prompt."""
    in_dim: int = 16
    """Latent channels that come in."""
    dim: int = 1536
    """Width."""
    ffn_dim: int = 8960
    """Width of the feed-forward layers."""
    freq_dim: int = 256
    """Size of the timestep's sinusoid."""
    text_dim: int = 4096
    """Size of a text embedding."""
    out_dim: int = 16
    """Latent channels that go out."""
    num_heads: int = 12
    """Attention heads."""
    num_layers: int = 30
    """Blocks."""
    cross_attn_norm: bool = True
    """Normalise before cross-attention."""
    cross_attn_enable_img: bool = False
    """Cross-attention has a branch for CLIP image features."""
    eps: float = 1e-6
    """Of all norms."""
    concat_padding_mask: bool = False
    """Every token gets one more input channel, all zeros (nothing is padded)."""
    patch_embedding_type: Literal["conv3d", "linear"] = "conv3d"
    """How the patch embedding's weight is stored."""
    apply_rope_before_kvcache: bool = True
    """Rotate keys before they are cached; False stores them unrotated and rotates on read."""
    cp_method: Literal["ring", "ulysses"] = "ring"
    """How attention is shared among processes."""


@dataclass(kw_only=True)
class WanDiTNetwork1pt3BConfig(WanDiTNetworkConfig):
    """Wan 2.1 1.3B."""


@dataclass(kw_only=True)
class WanDiTNetwork14BConfig(WanDiTNetworkConfig):
    """Wan 2.1 and 2.2 14B."""

    dim: int = 5120
    """Width."""
    ffn_dim: int = 13824
    """Width of the feed-forward layers."""
    num_heads: int = 40
    """Attention heads."""
    num_layers: int = 40
    """Blocks."""


@dataclass(kw_only=True)
class WanDiTNetworkTI2V5BConfig(WanDiTNetworkConfig):
    """Wan 2.2 TI2V 5B."""

    in_dim: int = 48
    """Latent channels that come in."""
    out_dim: int = 48
    """Latent channels that go out."""
    dim: int = 3072
    """Width."""
    ffn_dim: int = 14336
    """Width of the feed-forward layers."""
    num_heads: int = 24
    """Attention heads."""


@dataclass
class WanDiTNetworkCache:
    """A rollout's state in the network: a KV cache per layer, and the prompt's keys and values per layer."""

    self_attn: list[BlockKVCache]
    cross_attn: list[CrossKV]

    def before_update(self, chunk_idx: int) -> None:
        """Choose every layer's slots of chunk `chunk_idx`."""
        for cache in self.self_attn:
            cache.before_update(chunk_idx)

    @property
    def fill(self) -> float:
        """Share of the window that holds tokens, 0 to 1."""
        return self.self_attn[0].size / self.self_attn[0].capacity

    @property
    def nbytes(self) -> int:
        """Bytes of all KV buffers."""
        return sum(cache.nbytes for cache in self.self_attn)


class WanDiTNetwork(nn.Module):
    """See `WanDiTNetworkConfig`. Holds weights only; a rollout's state is in its `WanDiTNetworkCache`."""

    block_type: type[Block] = Block

    def __init__(self, config: WanDiTNetworkConfig) -> None:
        super().__init__()
        self.config = config
        if config.dim % config.num_heads or (config.dim // config.num_heads) % 2:
            raise ValueError(f"dim {config.dim} must be num_heads {config.num_heads} times an even head size")
        dim, patch = config.dim, config.patch_size
        in_dim = config.in_dim + config.concat_padding_mask
        if config.patch_embedding_type == "conv3d":
            self.patch_embedding: nn.Module = nn.Conv3d(in_dim, dim, patch, stride=patch)
        else:
            self.patch_embedding = nn.Linear(in_dim * patch[0] * patch[1] * patch[2], dim)
        self.text_embedding = nn.Sequential(
            nn.Linear(config.text_dim, dim), nn.GELU(approximate="tanh"), nn.Linear(dim, dim)
        )
        self.time_embedding = nn.Sequential(nn.Linear(config.freq_dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        if config.cross_attn_enable_img:
            self.img_emb = ImageProjection(CLIP_DIM, dim)
        self.blocks = nn.ModuleList(self._block() for _ in range(config.num_layers))
        self.head = Head(dim, patch[0] * patch[1] * patch[2] * config.out_dim, config.eps)
        self._official_head_order = True
        self.set_context_parallel_group(None)

    def _block(self) -> Block:
        c = self.config
        return self.block_type(c.dim, c.ffn_dim, c.num_heads, c.eps, c.cross_attn_norm, c.cross_attn_enable_img)

    def set_context_parallel_group(self, group: Any) -> None:
        """Share the tokens of every chunk among the processes of `group`; None is one process."""
        self._cp_group = group
        self._attention = NativeAttention() if group is None else ContextParallelAttention(self.config.cp_method)
        self._attention.set_context_parallel_group(group)

    def patchify_and_maybe_split_cp(
        self, x: Tensor, process_groups: Sequence[Any] | None = None, cp_dims: Sequence[int] | None = None
    ) -> Tensor:
        """Latents `[..., T, C, H, W]` -> tokens `[..., L, C kt kh kw]`, this process's share (of dim -2 by default)."""
        kt, kh, kw = self.config.patch_size
        *_, t, _, h, w = x.shape
        if t % kt or h % kh or w % kw:
            raise ValueError(f"latent of {t} frames, {h} x {w} does not divide into patches of {(kt, kh, kw)}")
        x = rearrange(x, "... (t kt) c (h kh) (w kw) -> ... (t h w) (c kt kh kw)", kt=kt, kh=kh, kw=kw)
        for group, dim in zip(process_groups or (self._cp_group,), cp_dims or (-2,), strict=True):
            x = split_inputs_cp(x, dim, group)
        return x

    def unpatchify_and_maybe_gather_cp(
        self, pH: int, pW: int, x: Tensor, process_groups: Sequence[Any] | None = None, cp_dims: Sequence[int] | None = None
    ) -> Tensor:
        """The inverse: tokens `[..., L, C kt kh kw]` of `pH` x `pW` patches a frame -> latents `[..., T, C, H, W]`."""
        for group, dim in zip(process_groups or (self._cp_group,), cp_dims or (-2,), strict=True):
            x = cat_outputs_cp(x, dim, group)
        kt, kh, kw = self.config.patch_size
        return rearrange(
            x, "... (t h w) (c kt kh kw) -> ... (t kt) c (h kh) (w kw)", h=pH, w=pW, kt=kt, kh=kh, kw=kw
        )

    def initialize_cache(
        self, chunk_size: int, window_size: int, sink_size: int, text_embeddings: Tensor, img_embeddings: Tensor | None = None
    ) -> WanDiTNetworkCache:
        """A new rollout's cache. Sizes are in tokens; `text_embeddings [..., text_len, text_dim]`."""
        config, weight = self.config, self.head.head.weight
        batch = text_embeddings.shape[:-2]
        shape = (*batch, chunk_size, config.num_heads, config.dim // config.num_heads)
        caches = [
            BlockKVCache(shape, shape, -3, chunk_size, window_size, sink_size, weight.device, weight.dtype)
            for _ in self.blocks
        ]
        return WanDiTNetworkCache(caches, self.cross_keys_values(text_embeddings, img_embeddings))

    def cross_keys_values(self, text_embeddings: Tensor, img_embeddings: Tensor | None = None) -> list[CrossKV]:
        """Each layer's keys and values of a prompt: what a text event replaces in a live rollout's cache."""
        config, dtype = self.config, self.head.head.weight.dtype
        if text_embeddings.shape[-2:] != (config.text_len, config.text_dim):
            raise ValueError(
                f"text_embeddings must be [..., {config.text_len}, {config.text_dim}], got {list(text_embeddings.shape)}"
            )
        if (img_embeddings is not None) != config.cross_attn_enable_img:
            wants = "needs" if config.cross_attn_enable_img else "takes no"
            raise ValueError(f"this network {wants} img_embeddings")
        context = self.text_embedding(text_embeddings.to(dtype))
        image = None if img_embeddings is None else self.img_emb(img_embeddings.to(dtype))
        return [block.cross_attn.keys_values(context, image) for block in self.blocks]  # type: ignore[union-attr, operator]

    def update_parameters_after_loading_checkpoint(self) -> None:
        """The official head emits each patch as (kt kh kw c), ours as (c kt kh kw): permute its weights, once."""
        if not self._official_head_order:
            return
        kt, kh, kw = self.config.patch_size
        with torch.no_grad():
            for p in (self.head.head.weight, self.head.head.bias):
                p.copy_(rearrange(p, "(kt kh kw c) ... -> (c kt kh kw) ...", kt=kt, kh=kh, kw=kw).clone())
        self._official_head_order = False

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor,
        cache: WanDiTNetworkCache,
        rope_freqs: Tensor | RopeTable | tuple[RopeTable, RopeTable],
        current_chunk_idx: int = 0,
        eager_mode: bool = True,
        block_extra_kwargs: dict[str, Any] | None = None,
    ) -> Tensor:
        """Tokens `[..., L, C kt kh kw]` of chunk `current_chunk_idx` -> `[..., L, out_dim kt kh kw]`.

        `timesteps` (0 to 1000) is scalar, per batch `[...]` or per token `[..., L]`. With `eager_mode` the caches'
        slots are chosen here; a captured graph leaves that to its caller.
        """
        if eager_mode:
            cache.before_update(current_chunk_idx)
        rope = rope_table(rope_freqs) if isinstance(rope_freqs, Tensor) else rope_freqs
        memories = [StreamingMemory(layer, rope, self._attention) for layer in cache.self_attn]
        per_token = timesteps.dim() == x.dim() - 1 and timesteps.dim() > 0 and timesteps.shape[-1] == x.shape[-2]
        if not per_token:
            if timesteps.dim() and timesteps.shape != x.shape[:-2]:
                raise ValueError(f"timesteps {list(timesteps.shape)} must be scalar, {list(x.shape[:-2])} or {list(x.shape[:-1])}")
            timesteps = timesteps.unsqueeze(-1)
        return self.run_blocks(x, timesteps, memories, cache.cross_attn, block_extra_kwargs)

    def run_blocks(
        self, x: Tensor, timesteps: Tensor, memories: Sequence[Memory], cross: Sequence[CrossKV],
        extra: dict[str, Any] | None = None,
    ) -> Tensor:
        """The network itself, whatever it attends to: `timesteps [..., G]` for G equal runs of the tokens of `x`."""
        weight = self.head.head.weight
        embedded = self.time_embedding(sinusoid(timesteps, self.config.freq_dim).to(weight.dtype))
        modulation = self.time_projection(embedded).unflatten(-1, (6, -1))
        x = self._embed_patches(x.to(weight.dtype))
        for block, memory, context in zip(self.blocks, memories, cross, strict=True):
            x = block(x, modulation, memory, context, **(extra or {}))
        return self.head(x, embedded)

    def _embed_patches(self, x: Tensor) -> Tensor:
        if self.config.concat_padding_mask:
            kt, kh, kw = self.config.patch_size
            x = F.pad(x, (0, kt * kh * kw))
        if isinstance(self.patch_embedding, nn.Conv3d):
            return F.linear(x, self.patch_embedding.weight.flatten(1), self.patch_embedding.bias)
        return self.patch_embedding(x)
