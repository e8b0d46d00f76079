"""The Cosmos-Predict2 diffusion transformer, streaming: one chunk of tokens against per-layer KV caches.

State-dict keys are those of the published Cosmos-Predict2 checkpoints, without the `net.` in front.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from flashdreams.core.attention import BlockKVCache, rope_table
from flashdreams.core.checkpoint import rename_checkpoint_keys
from flashdreams.infra.config.base import InstantiateConfig
from flashdreams.recipes.cosmos.transformer.impl.modules import (
    EPS,
    Block,
    BlockCache,
    FinalLayer,
    PatchEmbed,
    TimestepEmbedding,
    Timesteps,
)
from flashdreams.recipes.patchified_transformer import PatchifiedNetwork, check_network, patch_positions
from flashdreams.recipes.wan.transformer.impl.functional import RMSNorm
from flashdreams.recipes.wan.transformer.impl.modules import KeysValues, RopeFreqs

CHECKPOINT_KEY_MAPPING: dict[str, str] = {r"^net\.": ""}
"""Patterns that make our keys of a published file's."""
CHECKPOINT_KEY_DROP_PATTERNS: tuple[str, ...] = (
    r"^(net\.)?(.*\.)?_extra_state$",
    r"^(net\.)?accum_",
    r"^(net\.)?pos_embedder\.",
)
"""Keys that training leaves behind."""


def state_dict_transform(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a published file's tensors under our keys, without what training leaves behind."""
    return rename_checkpoint_keys(
        state_dict,
        [*((pattern, None) for pattern in CHECKPOINT_KEY_DROP_PATTERNS), *CHECKPOINT_KEY_MAPPING.items()],
    )


@dataclass
class CosmosDiTNetworkCache:
    """A rollout's state in the network, block by block.

    In a window of a single chunk nothing outlives a step, and all blocks share one KV cache, one after another.
    """

    block_caches: list[BlockCache]

    def before_update(self, chunk_idx: int) -> None:
        """Choose the slots of chunk `chunk_idx` in every block."""
        for cache in self.block_caches:
            cache.before_update(chunk_idx)

    def after_update(self, chunk_idx: int) -> None:
        """End the step of chunk `chunk_idx` in every block."""
        for cache in self.block_caches:
            cache.after_update(chunk_idx)

    @property
    def self_attn(self) -> list[BlockKVCache]:
        """Every block's keys and values of the newest chunks."""
        return [cache.self_attn for cache in self.block_caches]

    @property
    def fill(self) -> float:
        """Share of the window that holds tokens, 0 to 1."""
        first = self.block_caches[0].self_attn
        return first.size / first.capacity

    @property
    def nbytes(self) -> int:
        """Bytes of all KV buffers."""
        return sum(cache.nbytes for cache in {id(cache): cache for cache in self.self_attn}.values())


@dataclass
class CosmosDiTNetworkConfig(InstantiateConfig):
    """Sizes and options of a Cosmos-Predict2 transformer; the defaults are the 2B model."""

    _target: type[CosmosDiTNetwork] = field(default_factory=lambda: CosmosDiTNetwork)

    in_channels: int = 17
    """Channels that come in: those of the latent, and the mask of given latents."""
    out_channels: int = 16
    """Latent channels that go out."""
    patch_size: tuple[int, int, int] = (1, 2, 2)
    """Latent frames, rows and columns in one token."""
    model_channels: int = 2048
    """Width."""
    num_blocks: int = 28
    """Blocks."""
    num_heads: int = 16
    """Attention heads."""
    mlp_ratio: float = 4.0
    """Width of the feed-forward layers, in `model_channels`."""
    concat_padding_mask: bool = True
    """Every token gets one more input channel, all zeros (nothing is padded)."""
    use_adaln_lora: bool = True
    """Modulations are low-rank in the timestep, beside a part that all layers share."""
    adaln_lora_dim: int = 256
    """Rank of the modulations."""
    use_crossattn_projection: bool = True
    """Project text embeddings to `crossattn_emb_channels`; False takes embeddings of that size."""
    crossattn_proj_in_channels: int = 100352
    """Size of a text embedding: all 28 layers of Cosmos-Reason1 beside one another."""
    crossattn_emb_channels: int = 1024
    """Size of the text embedding that cross-attention reads."""
    timestep_scale: float = 0.001
    """Factor from the scheduler's timesteps, 0 to 1000, to those that the network was trained with."""
    cp_method: Literal["ring", "ulysses"] = "ring"
    """The method by which processes share attention."""
    control_channels: int = 0
    """Latent channels of a control video, such as 16 of an HD map; 0: the network takes none."""

    def __post_init__(self) -> None:
        check_network(self)
        if self.control_channels < 0:
            raise ValueError(f"control_channels must be at least 0, got {self.control_channels}")
        if self.patch_size[1] != self.patch_size[2]:
            raise ValueError(f"patch_size must have as many rows as columns, got {self.patch_size}")

    @property
    def patch(self) -> int:
        """Latent positions in one token."""
        return patch_positions(self.patch_size)

    @property
    def dim(self) -> int:
        """Width."""
        return self.model_channels

    @property
    def in_dim(self) -> int:
        """Latent channels that come in, the mask of given latents aside."""
        return self.in_channels - 1

    @property
    def out_dim(self) -> int:
        """Latent channels that go out."""
        return self.out_channels

    @property
    def text_dim(self) -> int:
        """Size of the text embeddings that the network takes."""
        return self.crossattn_proj_in_channels if self.use_crossattn_projection else self.crossattn_emb_channels


class CosmosDiTNetwork(PatchifiedNetwork):
    """See `CosmosDiTNetworkConfig`. Holds weights only; a rollout's state is in its cache."""

    def __init__(self, config: CosmosDiTNetworkConfig):
        super().__init__(config)
        dim, (frames, side, _) = config.model_channels, config.patch_size
        channels = config.in_channels + config.concat_padding_mask
        self.x_embedder = PatchEmbed(side, frames, channels, dim)
        if config.control_channels:
            self.additional_patch_embedding = PatchEmbed(side, frames, config.control_channels, dim)
        self.t_embedder = nn.Sequential(Timesteps(dim), TimestepEmbedding(dim, dim, config.use_adaln_lora))
        self.t_embedding_norm = RMSNorm(dim, EPS)
        adaln = (config.use_adaln_lora, config.adaln_lora_dim)
        self.blocks = nn.ModuleList(
            Block(dim, config.crossattn_emb_channels, config.num_heads, config.mlp_ratio, *adaln, config.cp_method)
            for _ in range(config.num_blocks)
        )
        self.final_layer = FinalLayer(dim, side, frames, config.out_channels, *adaln)
        if config.use_crossattn_projection:
            sizes = (config.crossattn_proj_in_channels, config.crossattn_emb_channels)
            self.crossattn_proj = nn.Sequential(nn.Linear(*sizes), nn.GELU())
        self.set_context_parallel_group(None)

    def initialize_cache(
        self, chunk_size: int, window_size: int, sink_size: int, text_embeddings: Tensor
    ) -> CosmosDiTNetworkCache:
        """Return a new rollout's cache; `text_embeddings [..., text_len, text_dim]`.

        Sizes are in tokens, as this process holds them: `chunk_size` is the length that `forward` will get.
        """
        context = self._embedded_context(text_embeddings)
        shared = sink_size == 0 and window_size == chunk_size
        caches: list[BlockCache] = []
        for block in self.blocks:
            if shared and caches:
                caches.append(BlockCache(caches[0].self_attn, block.cross_attn.initialize_cache(context)))  # type: ignore[union-attr, operator]
            else:
                caches.append(block.initialize_cache(chunk_size, window_size, sink_size, context))  # type: ignore[operator]
        return CosmosDiTNetworkCache(caches)

    def cross_keys_values(self, text_embeddings: Tensor) -> list[KeysValues]:
        """Return each block's keys and values of a prompt, as a text event replaces them in a live rollout's cache."""
        context = self._embedded_context(text_embeddings)
        return [KeysValues(*block.cross_attn.keys_values(context)) for block in self.blocks]  # type: ignore[union-attr, operator]

    def _embedded_context(self, text: Tensor) -> Tensor:
        if text.dim() < 2 or text.shape[-1] != self.config.text_dim:
            raise ValueError(f"text_embeddings must be [..., tokens, {self.config.text_dim}], got {list(text.shape)}")
        context = text.to(self.final_layer.linear.weight.dtype)
        return self.crossattn_proj(context) if self.config.use_crossattn_projection else context

    @torch.no_grad()
    def update_parameters_after_loading_checkpoint(self) -> None:
        """Call once after each loading of a published checkpoint, whose last layer emits patches as (kh kw kt c).

        This network hands out patches as (c kt kh kw), the order in which it takes them.
        """
        kt, kh, kw = self.config.patch_size
        weight = self.final_layer.linear.weight
        weight.copy_(rearrange(weight, "(kh kw kt c) i -> (c kt kh kw) i", kt=kt, kh=kh, kw=kw).clone())

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor | float,
        cache: CosmosDiTNetworkCache,
        rope_freqs: RopeFreqs,
        current_chunk_idx: int = 0,
        eager_mode: bool = True,
        *,
        control: Tensor | None = None,
    ) -> Tensor:
        """Tokens `[..., L, in_channels kt kh kw]` of chunk `current_chunk_idx` -> `[..., L, out_channels kt kh kw]`.

        The last channel of `x` is 1 where it holds a given latent, else 0. `timesteps` (0 to 1000) is a scalar, per
        batch `[...]`, or `[..., G]` for G equal runs of the tokens. `control [..., L, control_channels kt kh kw]`. With
        `eager_mode` the caches' slots are chosen here; a captured graph leaves that to its caller.
        """
        self._check_inputs(x, control, cache)
        timesteps = self._timesteps(timesteps, x)
        rope = rope_table(rope_freqs, interleaved=False) if isinstance(rope_freqs, Tensor) else rope_freqs
        if eager_mode:
            cache.before_update(current_chunk_idx)
        flow = self.run_blocks(x, timesteps, cache.block_caches, rope, control)
        if eager_mode:
            cache.after_update(current_chunk_idx)
        return flow

    def run_blocks(
        self,
        x: Tensor,
        timesteps: Tensor,
        block_caches: Sequence[BlockCache],
        rope_freqs: RopeFreqs | None = None,
        control: Tensor | None = None,
    ) -> Tensor:
        """Run the network itself on checked inputs: `timesteps [..., G]` for G equal runs of the tokens of `x`."""
        dtype = self.final_layer.linear.weight.dtype
        waves = self.t_embedder[0](timesteps * self.config.timestep_scale).to(dtype)
        emb, adaln_lora = self.t_embedder[1](waves)
        emb = self.t_embedding_norm(emb)
        tokens = x.to(dtype)
        x = self.x_embedder(F.pad(tokens, (0, self.config.patch)) if self.config.concat_padding_mask else tokens)
        if control is not None:
            x = x + self.additional_patch_embedding(control.to(dtype))
        for block, cache in zip(self.blocks, block_caches, strict=True):
            x = block(x, emb, cache, rope_freqs, adaln_lora)
        return self.final_layer(x, emb, adaln_lora)

    def _check_inputs(self, x: Tensor, control: Tensor | None, cache: CosmosDiTNetworkCache) -> None:
        c = self.config
        self._check_chunk(x, c.in_channels, len(self.blocks), len(cache.block_caches))
        if (control is not None) != bool(c.control_channels):
            wants = "needs a" if c.control_channels else "takes no"
            raise ValueError(f"this network {wants} control (control_channels {c.control_channels})")
        if control is not None and control.shape != (*x.shape[:-1], c.control_channels * c.patch):
            wanted = [*x.shape[:-1], c.control_channels * c.patch]
            raise ValueError(f"control must be {wanted} in tokens, as the chunk is, got {list(control.shape)}")

    @staticmethod
    def _timesteps(timesteps: Tensor | float, x: Tensor) -> Tensor:
        """Return `timesteps` as `[1]` or `[..., G]`."""
        timesteps = torch.as_tensor(timesteps, device=x.device)
        if timesteps.numel() == 1:
            return timesteps.reshape(1)
        if timesteps.shape == x.shape[:-2]:
            return timesteps.unsqueeze(-1)
        if timesteps.shape[:-1] == x.shape[:-2] and x.shape[-2] % timesteps.shape[-1] == 0:
            return timesteps
        accepted = f"scalar, {list(x.shape[:-2])} (per batch) or with one more dim that divides {x.shape[-2]} tokens"
        raise ValueError(f"timesteps must be {accepted}, got {list(timesteps.shape)}")
