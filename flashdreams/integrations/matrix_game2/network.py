"""Matrix-Game 2.0's transformer network: Wan 1.3B that sees a picture instead of a prompt, with an action module.

Names of parameters are those of the published checkpoints, without their prefix `model.`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flashdreams.core.attention import BlockKVCache, RopeTable, apply_rope_freqs, attend
from flashdreams.recipes.wan import WanDiTNetwork, WanDiTNetwork1pt3BConfig
from flashdreams.recipes.wan.transformer.impl.caches import BlockCache, WanDiTNetworkCache
from flashdreams.recipes.wan.transformer.impl.functional import TanhGELU
from flashdreams.recipes.wan.transformer.impl.modules import Block, MLPProj
from flashdreams.recipes.wan.transformer.impl.network import CLIP_DIM

FRAMES_PER_LATENT = 4
"""Frames to a latent, the first of a rollout aside."""


@dataclass
class MatrixGameNetworkConfig(WanDiTNetwork1pt3BConfig):
    """Wan 1.3B that reads mask and image beside the noisy latent, CLIP features instead of a prompt, and actions."""

    _target: type = field(default_factory=lambda: MatrixGameNetwork)

    in_dim: int = 36
    """Latent channels that come in: 16 of noise, 4 of the mask, 16 of the image."""
    text_len: int = 257
    """CLIP tokens of the picture; there is no prompt."""
    text_dim: int = CLIP_DIM
    """Features of a CLIP token."""
    keyboard_dim: int = 4
    """Entries of a frame's keyboard vector."""
    mouse_dim: int = 2
    """Entries of a frame's mouse vector: pitch and yaw; 0 for a model without a mouse."""
    action_blocks: int = 15
    """So many of the first blocks, or all if there are fewer, have an action module."""
    action_dim: int = 1024
    """Width of an action module."""
    action_heads: int = 16
    """Attention heads of an action module."""
    action_rope_dims: tuple[int, int, int] = (8, 28, 28)
    """Channels of such a head for time, height and width; only those of time ever turn."""
    action_rope_theta: float = 256.0
    """Base of their frequencies."""
    action_window: int = 12
    """Frames whose controls a latent sees: those right before its last one."""
    keyboard_embed_dim: int = 128
    """Width of a frame's embedded keyboard."""
    action_norm_eps: float = 1e-6
    """Of the norms of queries and keys in an action module."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keyboard_dim < 1 or self.mouse_dim < 0:
            raise ValueError(
                f"keyboard_dim must be 1 or more, mouse_dim 0 or more, got {(self.keyboard_dim, self.mouse_dim)}"
            )
        if self.action_blocks < 0:
            raise ValueError(f"action_blocks must be 0 or more, got {self.action_blocks}")
        head = sum(self.action_rope_dims)
        if self.action_dim != self.action_heads * head or any(dim % 2 for dim in self.action_rope_dims):
            raise ValueError(
                f"action_dim must be action_heads = {self.action_heads} times the sum of action_rope_dims, all even, "
                f"got {self.action_dim} and {self.action_rope_dims}"
            )
        if self.action_window < 1:
            raise ValueError(f"action_window must be 1 or more, got {self.action_window}")
        if self.patch_size[0] != 1 or not self.apply_rope_before_kvcache or self.cross_attn_enable_img:
            raise ValueError(
                "the network must have patches of one latent frame, rotate keys before they are cached and have no "
                "cross_attn_enable_img"
            )

    @property
    def reads_clip(self) -> bool:
        """True: a rollout needs CLIP features of a picture."""
        return True


@dataclass
class ActionBlockCache(BlockCache):
    """State of one rollout in a block with an action module."""

    keyboard: BlockKVCache
    """Keys and values of the newest latents' keyboard `[*batch, latents, H, D]`."""
    mouse: BlockKVCache | None = None
    """Of the mouse, by position: `[*batch, positions, latents, H, D]`; None without a mouse."""

    @property
    def kv_caches(self) -> tuple[BlockKVCache, ...]:
        """All that is written chunk by chunk."""
        return (self.self_attn, self.keyboard, *(() if self.mouse is None else (self.mouse,)))


class HeadNorm(nn.Module):
    """Root-mean-square norm of each head. Published files have a weight for it, by which the model never multiplies."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Return `x [..., dim]` normalised."""
        return F.rms_norm(x, (x.shape[-1],), None, self.eps)


class ActionModule(nn.Module):
    """Adds the mouse, then the keyboard to a block's tokens: attention over time to the controls of the frames."""

    def __init__(self, config: MatrixGameNetworkConfig) -> None:
        super().__init__()
        c, width = config, config.action_dim
        self.heads, self.head_dim = c.action_heads, width // c.action_heads
        self.has_mouse = c.mouse_dim > 0
        embed = c.keyboard_embed_dim
        self.keyboard_embed = nn.Sequential(nn.Linear(c.keyboard_dim, embed), nn.SiLU(), nn.Linear(embed, embed))
        self.mouse_attn_q = nn.Linear(c.dim, width, bias=False)
        self.keyboard_attn_kv = nn.Linear(c.action_window * embed, 2 * width, bias=False)
        self.proj_keyboard = nn.Linear(width, c.dim, bias=False)
        self.key_attn_q_norm, self.key_attn_k_norm = self._norm(c), self._norm(c)
        if self.has_mouse:
            self.mouse_mlp = nn.Sequential(
                nn.Linear(c.dim + c.action_window * c.mouse_dim, width),
                TanhGELU(),
                nn.Linear(width, width),
                nn.LayerNorm(width),
            )
            self.t_qkv = nn.Linear(width, 3 * width, bias=False)
            self.proj_mouse = nn.Linear(width, c.dim, bias=False)
            self.img_attn_q_norm, self.img_attn_k_norm = self._norm(c), self._norm(c)

    def _norm(self, config: MatrixGameNetworkConfig) -> HeadNorm:
        return HeadNorm(self.head_dim, config.action_norm_eps)

    def new_caches(self, batch: tuple[int, ...], positions: int, len_t: int, window: int) -> dict[str, BlockKVCache]:
        """Return the caches of a rollout with `positions` tokens a latent; `len_t` and `window` in latents."""
        weight, heads = self.proj_keyboard.weight, (self.heads, self.head_dim)
        shapes = {"keyboard": (*batch, len_t, *heads)}
        if self.has_mouse:
            shapes["mouse"] = (*batch, positions, len_t, *heads)
        return {
            name: BlockKVCache(shape, shape, -3, len_t, window, device=weight.device, dtype=weight.dtype)
            for name, shape in shapes.items()
        }

    def forward(
        self, x: Tensor, cache: ActionBlockCache, rotation: Tensor, keyboard: Tensor, mouse: Tensor | None = None
    ) -> Tensor:
        """Return `x [..., T S, dim]` with the controls added, for T latents of S positions.

        `rotation [T, 1, D / 2, 2]` are the pairs of a `RopeTable` over time; `keyboard [..., T, window, K]` and `mouse
        [..., T, window, 2]` are the controls that each latent sees.
        """
        if mouse is not None:
            x = x + self.proj_mouse(self._by_mouse(x, cache, rotation, mouse))
        return x + self.proj_keyboard(self._by_keyboard(x, cache, rotation, keyboard))

    def _by_mouse(self, x: Tensor, cache: ActionBlockCache, rotation: Tensor, mouse: Tensor) -> Tensor:
        assert cache.mouse is not None
        frames, table = rotation.shape[0], RopeTable(rotation)
        by_position = x.unflatten(-2, (frames, -1)).transpose(-3, -2)  # [..., S, T, dim]
        seen = mouse.to(x.dtype).flatten(-2).unsqueeze(-3).expand(*by_position.shape[:-1], -1)
        q, k, v = self._heads(self.t_qkv(self.mouse_mlp(torch.cat([by_position, seen], -1))), 3)
        q = apply_rope_freqs(self.img_attn_q_norm(q), table)
        cache.mouse.update(apply_rope_freqs(self.img_attn_k_norm(k), table), v)
        answers = attend(q, cache.mouse.ring_k(), cache.mouse.ring_v())
        return answers.flatten(-2).transpose(-3, -2).flatten(-3, -2)

    def _by_keyboard(self, x: Tensor, cache: ActionBlockCache, rotation: Tensor, keyboard: Tensor) -> Tensor:
        table = RopeTable(rotation)
        k, v = self._heads(self.keyboard_attn_kv(self.keyboard_embed(keyboard.to(x.dtype)).flatten(-2)), 2)
        cache.keyboard.update(apply_rope_freqs(self.key_attn_k_norm(k), table), v)
        # Keys and values are the same at every position: one attention of all tokens is that over time at each.
        positions = x.shape[-2] // rotation.shape[0]
        (q,) = self._heads(self.mouse_attn_q(x), 1)
        q = apply_rope_freqs(self.key_attn_q_norm(q), RopeTable(rotation.repeat_interleave(positions, 0)))
        return attend(q, cache.keyboard.ring_k(), cache.keyboard.ring_v()).flatten(-2)

    def _heads(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        return x.unflatten(-1, (parts, self.heads, self.head_dim)).unbind(-3)


class MatrixGameBlock(Block):
    """A Wan block that may have an action module between cross-attention and feed-forward."""

    def __init__(self, actions: MatrixGameNetworkConfig | None, **options: Any) -> None:
        """`actions`: the network's config for a block with an action module."""
        super().__init__(**options)
        self.action_model = None if actions is None else ActionModule(actions)

    def inject(self, x: Tensor, **actions: Tensor) -> Tensor:
        """Return `x`: the controls come after cross-attention."""
        return x

    def inject_after_cross(self, x: Tensor, cache: BlockCache, **actions: Tensor) -> Tensor:
        """Return `x` with the controls added, in a block with an action module."""
        if self.action_model is None:
            return x
        assert isinstance(cache, ActionBlockCache)
        added: Tensor = self.action_model(x, cache, **actions)
        return added


class MatrixGameNetwork(WanDiTNetwork):
    """See `MatrixGameNetworkConfig`. Where other networks read a prompt's embedding, this one reads CLIP features."""

    config: MatrixGameNetworkConfig

    def __init__(self, config: MatrixGameNetworkConfig) -> None:
        super().__init__(config)
        del self.text_embedding
        self.img_emb = MLPProj(config.text_dim, config.dim)

    def _build_block(self, layer_idx: int) -> MatrixGameBlock:
        c = self.config
        return MatrixGameBlock(c if layer_idx < c.action_blocks else None, **self.block_arguments())

    def _embedded_context(self, text: Tensor, image: Tensor | None) -> tuple[Tensor, Tensor | None]:
        self._check_text(text)
        if image is not None:
            raise ValueError("img_embeddings must be None: this network reads CLIP features in place of a prompt")
        return self.img_emb(text.to(self.head.head.weight.dtype)), None

    def add_action_caches(
        self, cache: WanDiTNetworkCache, batch: tuple[int, ...], positions: int, len_t: int, window: int
    ) -> None:
        """Give the blocks with an action module their further caches; `len_t` and `window` are in latents."""
        for number, block in enumerate(self.blocks):
            actions, own = block.action_model, cache.block_caches[number]
            if isinstance(actions, ActionModule):
                more = actions.new_caches(batch, positions, len_t, window)
                cache.block_caches[number] = ActionBlockCache(own.self_attn, own.cross_attn, **more)

    def action_rotation(self, positions: Tensor) -> Tensor:
        """Return the pairs `[T, 1, D / 2, 2]` of a `RopeTable` for latents at `positions [T]`."""
        c = self.config
        dim, still = c.action_rope_dims[0], sum(c.action_rope_dims[1:]) // 2
        steps = torch.arange(dim // 2, device=positions.device, dtype=torch.float32)
        angles = positions.float().unsqueeze(-1) * c.action_rope_theta ** (-2 * steps / dim)
        angles = F.pad(angles, (0, still)).unsqueeze(-2)
        return torch.stack((angles.cos(), angles.sin()), -1)
