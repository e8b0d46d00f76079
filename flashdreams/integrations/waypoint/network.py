"""Waypoint's network: a frame-causal transformer whose layers are modulated by the noise level and told the action.

Parameter names are those of the published file, 393 in all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.nn import functional as F

from flashdreams.core.attention import BlockKVCache, DilatedKVCache, RopeTable, apply_rope_freqs
from flashdreams.infra.config.base import InstantiateConfig
from flashdreams.recipes.attention import attention_for
from flashdreams.recipes.patchified_transformer import PatchifiedNetwork, check_network, patch_positions
from flashdreams.recipes.wan.transformer.impl.modulation import Modulation, ModulationMemo

EPS = torch.finfo(torch.float32).eps
"""Of every norm, whatever the type of its input."""
MOUSE_AXES, SCROLL_AXES = 2, 1


@dataclass(kw_only=True)
class WaypointNetworkConfig(InstantiateConfig):
    """Sizes of a `WaypointNetwork`; the defaults are those of Waypoint 1.5 1B, 720P and 360P alike."""

    _target: type = field(default_factory=lambda: WaypointNetwork)

    in_dim: int = 32
    """Latent channels that come in."""
    out_dim: int = 32
    """Latent channels that go out."""
    patch_size: tuple[int, int, int] = (1, 2, 2)
    """Latent frames, rows and columns in one token."""
    cp_method: Literal["ring", "ulysses"] = "ring"
    """The method by which processes share attention."""
    dim: int = 2048
    """Width."""
    num_heads: int = 32
    """Heads of the queries."""
    num_kv_heads: int = 16
    """Heads of the keys and values, each shared by as many neighbouring heads of the queries."""
    num_layers: int = 24
    """Blocks."""
    mlp_ratio: int = 4
    """Width of every MLP in units of `dim`."""
    num_buttons: int = 256
    """Buttons that can be held."""
    noise_features: int = 512
    """Sines and cosines of the noise level."""
    control_every: int = 3
    """Of so many layers the first one is told the action."""
    global_every: int = 4
    """Of so many layers the last one is global, the others are local."""
    local_window: int = 16
    """Newest latents that a local layer sees, the present one included."""
    global_latents: int = 16
    """Earlier latents that a global layer can see."""
    global_dilation: int = 8
    """Global layers see earlier latents whose index is a multiple of it."""

    def __post_init__(self) -> None:
        check_network(self)
        if self.num_kv_heads < 1 or self.num_heads % self.num_kv_heads:
            raise ValueError(f"num_heads {self.num_heads} must be a multiple of num_kv_heads {self.num_kv_heads}")
        if self.head_dim % 16:
            raise ValueError(f"dim {self.dim} must be num_heads {self.num_heads} times a multiple of 16")
        if self.noise_features % 2 or self.noise_features < 4:
            raise ValueError(f"noise_features must be an even number of at least 4, got {self.noise_features}")

    @property
    def patch(self) -> int:
        """Latent positions in one token."""
        return patch_positions(self.patch_size)

    @property
    def head_dim(self) -> int:
        """Features of a head."""
        return self.dim // self.num_heads

    @property
    def control_dim(self) -> int:
        """Numbers in a control vector."""
        return MOUSE_AXES + self.num_buttons + SCROLL_AXES

    def is_global(self, layer: int) -> bool:
        """True for a layer with the dilated cache."""
        return layer % self.global_every == self.global_every - 1

    def is_controlled(self, layer: int) -> bool:
        """True for a layer that is told the action."""
        return layer % self.control_every == 0


class Mlp(nn.Module):
    """`fc2(silu(fc1(x)))`."""

    def __init__(self, in_dim: int, hidden: int, out_dim: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(in_dim, hidden, bias=False), nn.Linear(hidden, out_dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.silu(self.fc1(x)))


class Embedder(nn.Module):
    """An MLP under the name `mlp`, as the published file has it."""

    def __init__(self, in_dim: int, hidden: int, out_dim: int) -> None:
        super().__init__()
        self.mlp = Mlp(in_dim, hidden, out_dim)


class ControlGuidance(nn.Module):
    """The embedding that stands for no control at all."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.null_emb = nn.Parameter(torch.zeros(1, 1, dim))


class ConditionHead(nn.Module):
    """Scale, shift and gate of the noise embedding."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.bias_in = nn.Parameter(torch.zeros(dim))
        self.cond_proj = nn.ModuleList(nn.Linear(dim, dim, bias=False) for _ in range(3))

    def forward(self, c: Tensor) -> tuple[Tensor, ...]:
        h = F.silu(c + self.bias_in)
        return tuple(projection(h) for projection in self.cond_proj)


class ControlFusion(nn.Module):
    """Tells the tokens `x` the action `u`, both normed."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1_x, self.fc1_c, self.fc2 = (nn.Linear(dim, dim, bias=False) for _ in range(3))

    def forward(self, x: Tensor, u: Tensor) -> Tensor:
        return self.fc2(F.silu(self.fc1_x(x) + self.fc1_c(u)))


class GroupedAttention(nn.Module):
    """Self-attention with fewer key/value heads, whose values are mixed with those of the first layer."""

    def __init__(self, config: WaypointNetworkConfig) -> None:
        super().__init__()
        dim, narrow = config.dim, config.num_kv_heads * config.head_dim
        self.head_dim, self.cp_method = config.head_dim, config.cp_method
        self.set_context_parallel_group(None)
        self.q_proj, self.out_proj = nn.Linear(dim, dim, bias=False), nn.Linear(dim, dim, bias=False)
        self.k_proj, self.v_proj = nn.Linear(dim, narrow, bias=False), nn.Linear(dim, narrow, bias=False)
        self.v_lamb = nn.Parameter(torch.tensor(0.5))

    def set_context_parallel_group(self, cp_group: ProcessGroup | None) -> None:
        """Share the tokens among the processes of `cp_group`; None is one process."""
        self._attention = attention_for(cp_group, self.cp_method)

    def forward(self, x: Tensor, first_v: Tensor | None, cache: BlockKVCache, rope: RopeTable) -> tuple[Tensor, Tensor]:
        """Output `[..., L, dim]`, and the first layer's values; `first_v` is None in the first layer itself."""
        q, k, v = (
            projection(x).unflatten(-1, (-1, self.head_dim)) for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        first_v = v if first_v is None else first_v
        v = torch.lerp(v, first_v, self.v_lamb)
        cache.update(apply_rope_freqs(rms(k), rope, interleaved=True), v)
        q = apply_rope_freqs(rms(q), rope, interleaved=True)
        return self.out_proj(self._attend(q, cache.ring_k(), cache.ring_v()).flatten(-2)), first_v

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attention with as many queries per position as query heads share a key/value head: keys are not copied."""
        heads, shared = k.shape[-2], q.shape[-2] // k.shape[-2]
        folded = q.unflatten(-2, (heads, shared)).transpose(-3, -2).flatten(-4, -3)
        answers: Tensor = self._attention(folded, k, v)
        return answers.unflatten(-3, (-1, shared)).transpose(-3, -2).flatten(-3, -2)


class WaypointBlock(nn.Module):
    """Attention, the action in some layers, and an MLP."""

    def __init__(self, config: WaypointNetworkConfig, layer: int) -> None:
        super().__init__()
        dim = config.dim
        self.attn = GroupedAttention(config)
        self.attn_cond_head, self.mlp_cond_head = ConditionHead(dim), ConditionHead(dim)
        self.dit_mlp = Mlp(dim, config.mlp_ratio * dim, dim)
        self.ctrl_mlpfusion = ControlFusion(dim) if config.is_controlled(layer) else None

    def modulation_of(self, c: Tensor) -> Tensor:
        """Scale, shift and gate of attention, then of the MLP, `[6, *c.shape]`, of the noise embedding `c`."""
        return torch.stack((*self.attn_cond_head(c), *self.mlp_cond_head(c)))

    def forward(
        self,
        x: Tensor,
        modulation: Tensor,
        u: Tensor,
        first_v: Tensor | None,
        cache: BlockKVCache,
        rope: RopeTable,
    ) -> tuple[Tensor, Tensor]:
        scale, shift, gate, mlp_scale, mlp_shift, mlp_gate = modulation
        attended, first_v = self.attn(rms(x) * (1 + scale) + shift, first_v, cache, rope)
        x = x + gate * attended
        if self.ctrl_mlpfusion is not None:
            x = x + self.ctrl_mlpfusion(rms(x), u)
        return x + mlp_gate * self.dit_mlp(rms(x) * (1 + mlp_scale) + mlp_shift), first_v


class OutputNorm(nn.Module):
    """Scale and shift before the output."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc = nn.Linear(dim, 2 * dim, bias=False)


class Blocks(nn.Module):
    """The blocks under the name `blocks`, as the published file has them."""

    def __init__(self, config: WaypointNetworkConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(WaypointBlock(config, layer) for layer in range(config.num_layers))


class WaypointNetwork(PatchifiedNetwork):
    """Velocity of one latent's tokens `[..., L, in_dim * 4]`, given its noise level and action."""

    config: WaypointNetworkConfig

    def __init__(self, config: WaypointNetworkConfig) -> None:
        super().__init__(config)
        dim, hidden = config.dim, config.mlp_ratio * config.dim
        patch = config.patch_size[1:]
        self.ctrl_cfg = ControlGuidance(dim)
        self.ctrl_emb = Embedder(config.control_dim, hidden, dim)
        self.denoise_step_emb = Embedder(config.noise_features, hidden, dim)
        # Convolutions over patches that do not overlap are linear maps of tokens: only their weights are used.
        self.patchify = nn.Conv2d(config.in_dim, dim, patch, patch, bias=False)
        self.unpatchify = nn.ConvTranspose2d(dim, config.out_dim, patch, patch)
        self.out_norm = OutputNorm(dim)
        self.transformer = Blocks(config)
        self._memo = ModulationMemo()
        self.register_load_state_dict_post_hook(lambda *_: self._memo.clear())
        self.set_context_parallel_group(None)

    @property
    def layers(self) -> list[WaypointBlock]:
        """The blocks, in their order."""
        return cast(list[WaypointBlock], list(self.transformer.blocks))

    def set_context_parallel_group(self, cp_group: ProcessGroup | None = None) -> None:
        """Share the tokens of every latent among the processes of `cp_group`; None is one process."""
        self._cp_group = cp_group
        for block in self.layers:
            block.attn.set_context_parallel_group(cp_group)

    def modulation(self, sigma: Tensor) -> Modulation:
        """Every block's and the output's vectors at the scalar noise level `sigma`, computed once for each tensor."""
        return self._memo.of(sigma, self._modulation_at)

    def embed_control(self, control: Tensor | None, batch: Sequence[int]) -> Tensor:
        """The embedding `[*batch, 1, dim]` of control vectors `[*batch, control_dim]`; None stands for no control."""
        if control is None:
            return self.ctrl_cfg.null_emb.expand(*batch, 1, -1)
        wanted = (*batch, self.config.control_dim)
        if tuple(control.shape) != wanted:
            raise ValueError(f"control must be {list(wanted)}: mouse, buttons, scroll; got {list(control.shape)}")
        return self.ctrl_emb.mlp(control.to(self.ctrl_cfg.null_emb)).unsqueeze(-2)

    def initialize_cache(self, batch: Sequence[int], tokens: int) -> list[BlockKVCache]:
        """Empty caches of a rollout with `tokens` tokens to a latent, one per layer."""
        c, weight = self.config, self.patchify.weight
        shape = (*batch, 0, c.num_kv_heads, c.head_dim)
        dim, device, dtype = len(batch), weight.device, weight.dtype
        return [
            DilatedKVCache(shape, shape, dim, tokens, c.global_latents, c.global_dilation, device, dtype)
            if c.is_global(layer)
            else BlockKVCache(shape, shape, dim, tokens, c.local_window * tokens, device=device, dtype=dtype)
            for layer in range(c.num_layers)
        ]

    def forward(
        self, x: Tensor, modulation: Modulation, u: Tensor, caches: Sequence[BlockKVCache], rope: RopeTable
    ) -> Tensor:
        """Velocity `[..., L, out_dim * 4]` of the tokens `x`; the slots of `caches` are chosen, `u` is embedded."""
        self._check_chunk(x, self.config.in_dim, len(self.transformer.blocks), len(caches))
        x = F.linear(x, self.patchify.weight.flatten(1))
        u, first_v = rms(u), None
        for block, vectors, cache in zip(self.transformer.blocks, modulation.blocks, caches, strict=True):
            x, first_v = block(x, vectors, u, first_v, cache, rope)
        scale, shift = modulation.head
        x = F.silu(rms(x) * (1 + scale) + shift)
        bias = self.unpatchify.bias
        assert bias is not None
        return F.linear(x, self.unpatchify.weight.flatten(1).t(), bias.repeat_interleave(self.config.patch))

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self._memo.clear()  # They are where the weights were, and of their type.
        return super()._apply(fn, recurse)

    def _modulation_at(self, sigma: Tensor) -> Modulation:
        c = self._noise_embedding(sigma).to(self.out_norm.fc.weight)
        blocks = torch.stack([block.modulation_of(c) for block in self.layers])
        head = self.out_norm.fc(F.silu(c)).unflatten(-1, (2, -1)).movedim(-2, 0)
        return Modulation(blocks.unsqueeze(-2), head.unsqueeze(-2))

    def _noise_embedding(self, sigma: Tensor) -> Tensor:
        """fp32 `[*sigma.shape, dim]`, whatever the type of the weights."""
        mlp, half = self.denoise_step_emb.mlp, self.config.noise_features // 2
        steps = torch.arange(half, device=mlp.fc1.weight.device, dtype=torch.float64) / (half - 1)
        frequencies = torch.pow(10000.0, -steps).float()
        # In fp32 as the model was trained: of angles of up to 1000 it rounds the fourth decimal.
        angles = (1000 * sigma.to(frequencies)).unsqueeze(-1) * frequencies
        features = math.sqrt(2) * torch.cat((angles.sin(), angles.cos()), dim=-1)
        return F.linear(F.silu(F.linear(features, mlp.fc1.weight.float())), mlp.fc2.weight.float())


def rms(x: Tensor) -> Tensor:
    """`x / sqrt(mean(x^2) + EPS)` over the last dim."""
    return F.rms_norm(x, (x.shape[-1],), None, EPS)
