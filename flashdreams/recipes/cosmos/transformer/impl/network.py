"""The Cosmos-Predict2 diffusion transformer, streaming: one chunk of tokens against per-layer KV caches.

State-dict keys are those of the published Cosmos-Predict2 checkpoints, without the `net.` in front.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from flashdreams.core.attention import BlockKVCache, RopeTable
from flashdreams.recipes.cosmos.transformer.impl.modules import (
    EPS,
    Block,
    FinalLayer,
    PatchEmbedding,
    TimestepEmbedding,
)
from flashdreams.recipes.patchified_transformer import PatchedNetwork, PatchedNetworkConfig
from flashdreams.recipes.wan.transformer.impl.modules import CrossKV, Memory, RMSNorm, StreamingMemory
from flashdreams.recipes.wan.transformer.impl.network import WanDiTNetworkCache


@dataclass(kw_only=True)
class CosmosDiTNetworkConfig(PatchedNetworkConfig):
    """Sizes and options of a Cosmos-Predict2 transformer; the defaults are the 2B model.

    `in_dim` counts neither the mask of given latents nor that of padding.
    """

    _target: type = field(default_factory=lambda: CosmosDiTNetwork)

    text_dim: int = 100352
    """Size of a text embedding: all 28 layers of Cosmos-Reason1 beside one another."""
    dim: int = 2048
    """Width."""
    num_heads: int = 16
    """Attention heads."""
    num_layers: int = 28
    """Blocks."""
    control_dim: int = 0
    """Latent channels of a control video, such as 16 of an HD map; 0: the network takes none."""
    mlp_ratio: float = 4.0
    """Width of the feed-forward layers, in `dim`."""
    adaln_rank: int = 256
    """Rank of the modulations."""
    context_dim: int = 1024
    """Size of the projected text embedding that cross-attention reads."""
    project_text: bool = True
    """Project text embeddings of `text_dim` to `context_dim`; False takes embeddings of `context_dim`."""
    timestep_scale: float = 0.001
    """Factor from the scheduler's timesteps, 0 to 1000, to those that the network was trained with."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.control_dim < 0:
            raise ValueError(f"control_dim must be at least 0, got {self.control_dim}")
        if not self.project_text and self.text_dim != self.context_dim:
            raise ValueError(f"text_dim must be context_dim {self.context_dim} without a projection: {self.text_dim}")


class CosmosDiTNetwork(PatchedNetwork):
    """See `CosmosDiTNetworkConfig`. Holds weights only; a rollout's state is in its cache."""

    def __init__(self, config: CosmosDiTNetworkConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.x_embedder = PatchEmbedding((config.in_dim + 2) * config.patch, dim)
        if config.control_dim:
            self.additional_patch_embedding = PatchEmbedding(config.control_dim * config.patch, dim)
        self.t_embedder = nn.Sequential(nn.Identity(), TimestepEmbedding(dim))  # the files count the sinusoid
        self.t_embedding_norm = RMSNorm(dim, EPS)
        self.blocks = nn.ModuleList(
            Block(dim, config.num_heads, round(dim * config.mlp_ratio), config.context_dim, config.adaln_rank)
            for _ in range(config.num_layers)
        )
        self.final_layer = FinalLayer(dim, config.patch * config.out_dim, config.adaln_rank)
        if config.project_text:
            self.crossattn_proj = nn.Sequential(nn.Linear(config.text_dim, config.context_dim), nn.GELU())
        self.set_context_parallel_group(None)

    def initialize_cache(
        self, chunk_size: int, window_size: int, sink_size: int, text_embeddings: Tensor
    ) -> WanDiTNetworkCache:
        """A new rollout's cache; `text_embeddings [..., text_len, text_dim]`.

        Sizes are in tokens, as this process holds them: `chunk_size` is the length that `forward` will get.
        """
        cross = self.cross_keys_values(text_embeddings)
        config, weight = self.config, self.final_layer.linear.weight
        shape = (*text_embeddings.shape[:-2], chunk_size, config.num_heads, config.dim // config.num_heads)
        sizes = (chunk_size, window_size, sink_size)
        caches = [BlockKVCache(shape, shape, -3, *sizes, weight.device, weight.dtype) for _ in self.blocks]
        return WanDiTNetworkCache(caches, cross)

    def cross_keys_values(self, text_embeddings: Tensor) -> list[CrossKV]:
        """Each layer's keys and values of a prompt: what a text event replaces in a live rollout's cache."""
        self._check_text(text_embeddings)
        context = text_embeddings.to(self.final_layer.linear.weight.dtype)
        if self.config.project_text:
            context = self.crossattn_proj(context)
        return [block.cross_attn.keys_values(context) for block in self.blocks]  # type: ignore[union-attr, operator]

    @torch.no_grad()
    def update_parameters_after_loading_checkpoint(self) -> None:
        """Once after each loading of a published checkpoint: permute the last layer, which emits (kh kw kt c).

        This network hands out patches as (c kt kh kw), the order in which it takes them.
        """
        kt, kh, kw = self.config.patch_size
        weight = self.final_layer.linear.weight
        weight.copy_(rearrange(weight, "(kh kw kt c) i -> (c kt kh kw) i", kt=kt, kh=kh, kw=kw).clone())

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor | float,
        cache: WanDiTNetworkCache,
        rope: RopeTable,
        given: Tensor,
        control: Tensor | None = None,
        current_chunk_idx: int = 0,
        eager_mode: bool = True,
    ) -> Tensor:
        """Tokens `[..., L, in_dim kt kh kw]` of chunk `current_chunk_idx` -> flow `[..., L, out_dim kt kh kw]`.

        `timesteps` (0 to 1000) is a scalar or per batch `[...]`; `given [..., L, kt kh kw]` is 1 where `x` holds a
        given latent, else 0; `control [..., L, control_dim kt kh kw]`. With `eager_mode` the caches' slots are chosen
        here; a captured graph leaves that to its caller.
        """
        self._check_inputs(x, given, control, cache)
        timesteps = self._timesteps(timesteps, x)
        if eager_mode:
            cache.before_update(current_chunk_idx)
        memories = [StreamingMemory(layer, rope, self._attention) for layer in cache.self_attn]
        flow = self.run_blocks(x, timesteps, memories, cache.cross_attn, given, control)
        if eager_mode:
            cache.after_update(current_chunk_idx)
        return flow

    def run_blocks(
        self,
        x: Tensor,
        timesteps: Tensor,
        memories: Sequence[Memory],
        cross: Sequence[CrossKV],
        given: Tensor,
        control: Tensor | None,
    ) -> Tensor:
        """The network itself, whatever it attends to: `timesteps [..., G]` for G equal runs of the tokens of `x`."""
        dtype = self.final_layer.linear.weight.dtype
        waves, shared = self.t_embedder(timesteps * self.config.timestep_scale)
        embedded = self.t_embedding_norm(waves)
        tokens = torch.cat([x.to(dtype), given.to(dtype)], -1)
        x = self.x_embedder(F.pad(tokens, (0, self.config.patch)))  # nothing is padded: that mask is all zeros
        if control is not None:
            x = x + self.additional_patch_embedding(control.to(dtype))
        for block, memory, context in zip(self.blocks, memories, cross, strict=True):
            x = block(x, embedded, shared, memory, context)
        return self.final_layer(x, embedded, shared)

    def _check_inputs(self, x: Tensor, given: Tensor, control: Tensor | None, cache: WanDiTNetworkCache) -> None:
        c = self.config
        self._check_chunk(x, len(self.blocks), len(cache.self_attn))
        if given.shape != (*x.shape[:-1], c.patch):
            raise ValueError(f"given must be {[*x.shape[:-1], c.patch]}, got {list(given.shape)}")
        if (control is not None) != bool(c.control_dim):
            wants = "needs a" if c.control_dim else "takes no"
            raise ValueError(f"this network {wants} control (control_dim {c.control_dim})")
        if control is not None and control.shape != (*x.shape[:-1], c.control_dim * c.patch):
            wanted = [*x.shape[:-1], c.control_dim * c.patch]
            raise ValueError(f"control must be {wanted} in tokens, as the chunk is, got {list(control.shape)}")

    @staticmethod
    def _timesteps(timesteps: Tensor | float, x: Tensor) -> Tensor:
        """`timesteps` as `[1]` or, per batch, `[..., 1]`."""
        timesteps = torch.as_tensor(timesteps, device=x.device)
        if timesteps.numel() == 1:
            return timesteps.reshape(1)
        if timesteps.shape != x.shape[:-2]:
            accepted = f"scalar or {list(x.shape[:-2])} (per batch)"
            raise ValueError(f"timesteps must be {accepted}, got {list(timesteps.shape)}")
        return timesteps.unsqueeze(-1)
