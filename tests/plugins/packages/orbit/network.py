"""The network: Wan's, with a camera that every block reads between self-attention and cross-attention."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

from torch import Tensor, nn
from torch.nn import functional as F

from flashdreams.recipes.wan.transformer.impl.modules import Block, BlockCache
from flashdreams.recipes.wan.transformer.impl.network import WanDiTNetwork, WanDiTNetworkCache, WanDiTNetworkConfig
from orbit.encoder import ANGLES


@dataclass
class OrbitNetworkCache(WanDiTNetworkCache):
    """State of all blocks."""


@dataclass
class OrbitNetworkConfig(WanDiTNetworkConfig):
    """Config of `OrbitNetwork`."""

    _target: type[OrbitNetwork] = field(default_factory=lambda: OrbitNetwork)

    strength: float = 1.0


class OrbitBlock(Block):
    """Written out from the parts of `Block`; `e` holds six vectors of the timestep."""

    def __init__(self, dim: int, ffn_dim: int, num_heads: int, cross_attn_norm: bool = True, eps: float = 1e-6) -> None:
        super().__init__(dim=dim, ffn_dim=ffn_dim, num_heads=num_heads, cross_attn_norm=cross_attn_norm, eps=eps)
        self.scale, self.shift = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor, e: Tensor, cache: BlockCache, rope_freqs: Tensor, camera: Tensor) -> Tensor:
        six = (self.modulation + e).chunk(6, dim=-2)
        y = self.norm1(x) * (1 + six[1]) + six[0]
        x = x + self.self_attn(y, rope_freqs=rope_freqs, kv_cache=cache.self_attn) * six[2]
        x = x * (1 + self.scale(camera)) + self.shift(camera)
        x = x + self.cross_attn(self.norm3(x), kv_cache=cache.cross_attn)
        y = self.norm2(x) * (1 + six[4]) + six[3]
        return x + self.ffn(y) * six[5]


class OrbitNetwork(WanDiTNetwork):
    """Takes the camera's tokens before all else."""

    def __init__(self, config: OrbitNetworkConfig) -> None:
        super().__init__(config)
        self.camera_embedding = nn.Linear(ANGLES * prod(self.patch_size), self.dim)

    def _build_block(self, layer_idx: int) -> OrbitBlock:
        return OrbitBlock(
            dim=self.dim,
            ffn_dim=self.ffn_dim,
            num_heads=self.num_heads,
            cross_attn_norm=self.cross_attn_norm,
            eps=self.eps,
        )

    def forward(
        self,
        camera: Tensor,
        x: Tensor,
        timesteps: Tensor,
        cache: OrbitNetworkCache,
        rope_freqs: Tensor,
        current_chunk_idx: int = 0,
        eager_mode: bool = True,
    ) -> Tensor:
        assert self._parameters_updated_after_loading_checkpoint and isinstance(timesteps, Tensor)
        return super().forward(
            x=x,
            timesteps=timesteps,
            cache=cache,
            rope_freqs=rope_freqs,
            current_chunk_idx=current_chunk_idx,
            eager_mode=eager_mode,
            block_extra_kwargs={"camera": self.config.strength * F.silu(self.camera_embedding(camera))},
        )
