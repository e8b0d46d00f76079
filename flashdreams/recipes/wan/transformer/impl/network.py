"""The Wan diffusion transformer, streaming: one chunk of tokens against per-layer KV caches.

State-dict keys are those of the official Wan 2.1 / 2.2 checkpoints.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from flashdreams.core.attention import BlockKVCache, RopeTable, rope_table
from flashdreams.recipes.patchified_transformer import PatchedNetwork, PatchedNetworkConfig
from flashdreams.recipes.wan.transformer.impl.modulation import MaskedModulation, Modulation, ModulationMemo, choose
from flashdreams.recipes.wan.transformer.impl.modules import (
    Block,
    CrossKV,
    Head,
    ImageProjection,
    Memory,
    Parts,
    Rope,
    StreamingMemory,
    sinusoid,
)

CLIP_DIM = 1280
RopeFreqs = Tensor | RopeTable
"""Angles `[L, 1, 1, head_dim]` as the RoPE classes give them, or the table made of them once for many calls."""


@dataclass(kw_only=True)
class WanDiTNetworkConfig(PatchedNetworkConfig):
    """Sizes and options of a Wan transformer; the defaults are Wan 2.1 1.3B."""

    _target: type = field(default_factory=lambda: WanDiTNetwork)

    text_dim: int = 4096
    """Size of a text embedding."""
    dim: int = 1536
    """Width."""
    ffn_dim: int = 8960
    """Width of the feed-forward layers."""
    freq_dim: int = 256
    """Size of the timestep's sinusoid."""
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

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.freq_dim % 2:
            raise ValueError(f"freq_dim must be even, got {self.freq_dim}")
        if self.patch_embedding_type not in ("conv3d", "linear"):
            raise ValueError(f"patch_embedding_type must be 'conv3d' or 'linear', got {self.patch_embedding_type!r}")


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
    """A rollout's state in the network: a KV cache per layer, and the prompt's keys and values per layer.

    In a window of a single chunk nothing outlives a step, and all layers share one KV cache, one after another.
    """

    self_attn: list[BlockKVCache]
    cross_attn: list[CrossKV]

    def before_update(self, chunk_idx: int) -> None:
        """Choose every layer's slots of chunk `chunk_idx`."""
        for cache in self.self_attn:
            cache.before_update(chunk_idx)

    def after_update(self, chunk_idx: int) -> None:
        """End every layer's step of chunk `chunk_idx`."""
        for cache in self.self_attn:
            cache.after_update(chunk_idx)

    @property
    def fill(self) -> float:
        """Share of the window that holds tokens, 0 to 1."""
        return self.self_attn[0].size / self.self_attn[0].capacity

    @property
    def nbytes(self) -> int:
        """Bytes of all KV buffers."""
        return sum(cache.nbytes for cache in {id(cache): cache for cache in self.self_attn}.values())


class WanDiTNetwork(PatchedNetwork):
    """See `WanDiTNetworkConfig`. Holds weights only; a rollout's state is in its `WanDiTNetworkCache`."""

    block_type: type[Block] = Block

    def __init__(self, config: WanDiTNetworkConfig) -> None:
        super().__init__()
        self.config = config
        dim, patch = config.dim, config.patch_size
        in_dim = config.in_dim + config.concat_padding_mask
        if config.patch_embedding_type == "conv3d":
            self.patch_embedding: nn.Module = nn.Conv3d(in_dim, dim, patch, stride=patch)
        else:
            self.patch_embedding = nn.Linear(in_dim * config.patch, dim)
        self.text_embedding = nn.Sequential(
            nn.Linear(config.text_dim, dim), nn.GELU(approximate="tanh"), nn.Linear(dim, dim)
        )
        self.time_embedding = nn.Sequential(nn.Linear(config.freq_dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        if config.cross_attn_enable_img:
            self.img_emb = ImageProjection(CLIP_DIM, dim)
        self.blocks = nn.ModuleList(self._block() for _ in range(config.num_layers))
        self.head = Head(dim, config.patch * config.out_dim, config.eps)
        self._modulations = ModulationMemo()
        self.set_context_parallel_group(None)

    def _block(self) -> Block:
        c = self.config
        return self.block_type(c.dim, c.ffn_dim, c.num_heads, c.eps, c.cross_attn_norm, c.cross_attn_enable_img)

    def initialize_cache(
        self,
        chunk_size: int,
        window_size: int,
        sink_size: int,
        text_embeddings: Tensor,
        img_embeddings: Tensor | None = None,
    ) -> WanDiTNetworkCache:
        """A new rollout's cache; `text_embeddings [..., text_len, text_dim]`, `img_embeddings [..., 257, 1280]`.

        Sizes are in tokens, as this process holds them: `chunk_size` is the length that `forward` will get.
        """
        self._modulations.forget()
        cross = self.cross_keys_values(text_embeddings, img_embeddings)
        config, weight = self.config, self.head.head.weight
        shape = (*text_embeddings.shape[:-2], chunk_size, config.num_heads, config.dim // config.num_heads)
        shared = sink_size == 0 and window_size == chunk_size
        caches = [
            BlockKVCache(shape, shape, -3, chunk_size, window_size, sink_size, weight.device, weight.dtype)
            for _ in range(1 if shared else config.num_layers)
        ]
        return WanDiTNetworkCache(caches * config.num_layers if shared else caches, cross)

    def cross_keys_values(self, text_embeddings: Tensor, img_embeddings: Tensor | None = None) -> list[CrossKV]:
        """Each layer's keys and values of a prompt: what a text event replaces in a live rollout's cache."""
        config, dtype = self.config, self.head.head.weight.dtype
        self._check_text(text_embeddings)
        if (img_embeddings is not None) != config.cross_attn_enable_img:
            wants = "needs" if config.cross_attn_enable_img else "takes no"
            raise ValueError(f"this network {wants} img_embeddings (cross_attn_enable_img)")
        if img_embeddings is not None:
            _check_image(img_embeddings, text_embeddings.shape[:-2])
        context = self.text_embedding(text_embeddings.to(dtype))
        image = None if img_embeddings is None else self.img_emb(img_embeddings.to(dtype))
        return [block.cross_attn.keys_values(context, image) for block in self.blocks]  # type: ignore[union-attr, operator]

    @torch.no_grad()
    def update_parameters_after_loading_checkpoint(self) -> None:
        """Once after each loading of an official checkpoint: permute the head, which emits patches as (kt kh kw c).

        This network hands out patches as (c kt kh kw), and so do weights that it was trained with from the start.
        """
        kt, kh, kw = self.config.patch_size
        for p in (self.head.head.weight, self.head.head.bias):
            p.copy_(rearrange(p, "(kt kh kw c) ... -> (c kt kh kw) ...", kt=kt, kh=kh, kw=kw).clone())

    def modulation(self, timestep: Tensor) -> Modulation:
        """What `timestep`, one number for all tokens, makes of the blocks and the head; `forward` takes it instead.

        Without gradients it is kept for this very tensor, until a rollout begins or the weights move.
        """
        if timestep.numel() != 1:
            raise ValueError(f"timestep must be one number for all tokens, got shape {list(timestep.shape)}")
        if torch.is_grad_enabled():
            return self._modulation(timestep)
        return self._modulations.of(timestep, self._modulation)

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor | float | Modulation | MaskedModulation,
        cache: WanDiTNetworkCache,
        rope_freqs: RopeFreqs | tuple[RopeFreqs, RopeFreqs],
        current_chunk_idx: int = 0,
        eager_mode: bool = True,
        block_extra_kwargs: dict[str, Any] | None = None,
    ) -> Tensor:
        """Tokens `[..., L, C kt kh kw]` of chunk `current_chunk_idx` -> `[..., L, out_dim kt kh kw]`.

        `timesteps` (0 to 1000) is scalar, per batch `[...]` or per token `[..., L]`, or what was made of it before.
        `rope_freqs` are those of the chunk, or the pair (this chunk's queries, all cached keys) for a network that
        caches keys unrotated. With `eager_mode` the caches' slots are chosen here; a captured graph leaves that to its
        caller. `block_extra_kwargs` go to every block's `inject`.
        """
        self._check_chunk(x, len(self.blocks), len(cache.self_attn))
        rope = self._rope(rope_freqs)
        if isinstance(timesteps, Tensor) and timesteps.numel() == 1 and not torch.compiler.is_compiling():
            timesteps = self.modulation(timesteps)
        elif not isinstance(timesteps, Modulation | MaskedModulation):
            timesteps = _timesteps_of_runs(timesteps, x)
        if eager_mode:
            cache.before_update(current_chunk_idx)
        memories = [StreamingMemory(layer, rope, self._attention) for layer in cache.self_attn]
        flow = self.run_blocks(x, timesteps, memories, cache.cross_attn, block_extra_kwargs)
        if eager_mode:
            cache.after_update(current_chunk_idx)
        return flow

    def run_blocks(
        self,
        x: Tensor,
        timesteps: Tensor | Modulation | MaskedModulation,
        memories: Sequence[Memory],
        cross: Sequence[CrossKV],
        extra: dict[str, Any] | None = None,
        added: Tensor | None = None,
    ) -> Tensor:
        """The network itself, whatever it attends to: `timesteps [..., G]` for G equal runs of the tokens of `x`.

        `extra` goes to every block's `inject`; `added [..., G, dim]` is one more embedding beside the timesteps'.
        """
        of_blocks, of_head = self._parts(timesteps, added)
        x = self._embed_patches(x.to(self.head.head.weight.dtype))
        for block, parts, memory, context in zip(self.blocks, of_blocks, memories, cross, strict=True):
            x = block(x, parts, memory, context, **(extra or {}))
        return self.head(x, of_head)

    def _parts(
        self, timesteps: Tensor | Modulation | MaskedModulation, added: Tensor | None = None
    ) -> tuple[Iterable[Parts], Parts]:
        """Of the blocks, each made when its turn comes where every token may have its own, and of the head."""
        if isinstance(timesteps, Modulation):
            return [block.unbind() for block in timesteps.blocks.unbind()], timesteps.head.unbind()
        if isinstance(timesteps, MaskedModulation):
            given, first, others = timesteps
            pairs = zip(first.blocks.unbind(), others.blocks.unbind(), strict=True)
            return (choose(given, *pair) for pair in pairs), choose(given, first.head, others.head)
        embedded = self.time_embedding(sinusoid(timesteps, self.config.freq_dim).to(self.head.head.weight.dtype))
        embedded = embedded if added is None else embedded + added
        projected = self.time_projection(embedded).unflatten(-1, (6, -1))
        return (block.modulation_of(projected) for block in self.blocks), self.head.modulation_of(embedded)  # type: ignore[operator]

    def _modulation(self, timestep: Tensor) -> Modulation:
        of_blocks, of_head = self._parts(timestep.to(self.head.head.weight.device).reshape(1))
        return Modulation(torch.stack([torch.stack(parts) for parts in of_blocks]), torch.stack(of_head))

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self._modulations.forget()
        return super()._apply(fn, recurse)

    def _embed_patches(self, x: Tensor) -> Tensor:
        if self.config.concat_padding_mask:
            x = F.pad(x, (0, self.config.patch))
        if isinstance(self.patch_embedding, nn.Conv3d):
            return F.linear(x, self.patch_embedding.weight.flatten(1), self.patch_embedding.bias)
        return self.patch_embedding(x)

    def _rope(self, freqs: RopeFreqs | tuple[RopeFreqs, RopeFreqs]) -> Rope:
        if isinstance(freqs, tuple) == self.config.apply_rope_before_kvcache:
            wanted = "the chunk's alone" if self.config.apply_rope_before_kvcache else "a pair (queries, cached keys)"
            given = "a pair" if isinstance(freqs, tuple) else "one table"
            rule = f"apply_rope_before_kvcache={self.config.apply_rope_before_kvcache}"
            raise ValueError(f"with {rule} rope_freqs must be {wanted}, got {given}")
        if isinstance(freqs, tuple):
            of_queries, of_cached_keys = freqs
            return _table(of_queries), _table(of_cached_keys)
        return _table(freqs)


def _table(freqs: RopeFreqs) -> RopeTable:
    return rope_table(freqs) if isinstance(freqs, Tensor) else freqs


def _timesteps_of_runs(timesteps: Tensor | float, x: Tensor) -> Tensor:
    """`timesteps` as `[..., G]` for G equal runs of the tokens of `x [..., L, D]`; told apart by their dims alone."""
    timesteps = torch.as_tensor(timesteps, device=x.device)
    batch, tokens = x.shape[:-2], x.shape[:-1]
    if timesteps.numel() == 1:
        return timesteps.reshape(1)
    if timesteps.shape == tokens:
        return timesteps
    if timesteps.shape == batch:
        return timesteps.unsqueeze(-1)
    accepted = f"scalar, {list(batch)} (per batch) or {list(tokens)} (per token)"
    raise ValueError(f"timesteps must be {accepted}, got {list(timesteps.shape)}")


def _check_image(img_embeddings: Tensor, batch: torch.Size) -> None:
    if img_embeddings.dim() < 2 or img_embeddings.shape[-1] != CLIP_DIM or img_embeddings.shape[:-2] != batch:
        wanted = ", ".join([*map(str, batch), "tokens", str(CLIP_DIM)])
        raise ValueError(f"img_embeddings must be [{wanted}], got {list(img_embeddings.shape)}")
