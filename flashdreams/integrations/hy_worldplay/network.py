"""HY-WorldPlay's transformer network: Wan 2.2 TI2V 5B with action classes and a second, projective attention.

Names of parameters are ours; `checkpoint.py` makes them of the published ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from flashdreams.recipes.wan import WanDiTNetwork, WanDiTNetworkTI2V5BConfig
from flashdreams.recipes.wan.transformer.impl.modules import Block, SelfAttention, sinusoidal_embedding_1d


@dataclass
class HyWorldPlayNetworkConfig(WanDiTNetworkTI2V5BConfig):
    """Wan 2.2 TI2V 5B, steered by cameras and action classes."""

    _target: type = field(default_factory=lambda: HyWorldPlayNetwork)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dim // self.num_heads % 4:
            raise ValueError(f"the head size must be a multiple of 4, got {self.dim // self.num_heads}")


class TwofoldSelfAttention(SelfAttention):
    """Self-attention whose memory answers twice, `[2, ..., L, H, D]`: by rotary and by projective positions."""

    def __init__(self, query_dim: int, **sizes: Any) -> None:
        super().__init__(query_dim, **sizes)
        self.o_prope = nn.Linear(query_dim, query_dim)

    def attended(self, answers: Tensor) -> Tensor:
        by_place, by_camera = answers.flatten(-2)
        return self.o(by_place) + self.o_prope(by_camera)


class HyWorldPlayBlock(Block):
    """A Wan block with a `TwofoldSelfAttention`."""

    def __init__(self, dim: int, ffn_dim: int, num_heads: int, **options: Any) -> None:
        super().__init__(dim, ffn_dim, num_heads, **options)
        self.self_attn = TwofoldSelfAttention(dim, n_heads=num_heads, head_dim=dim // num_heads, eps=self.eps)


class HyWorldPlayNetwork(WanDiTNetwork):
    """See `HyWorldPlayNetworkConfig`; it is called by `run_blocks`, with memories that answer twice."""

    def __init__(self, config: HyWorldPlayNetworkConfig) -> None:
        super().__init__(config)
        dim = config.dim
        self.action_embedding = nn.Sequential(nn.Linear(config.freq_dim, dim), nn.SiLU(), nn.Linear(dim, dim))

    def _build_block(self, layer_idx: int) -> HyWorldPlayBlock:
        return HyWorldPlayBlock(**self.block_arguments())

    def embed_actions(self, actions: Tensor) -> Tensor:
        """Action classes `[..., T]` (0 to 80) of latent frames -> `[..., T, dim]`, which go to the timestep's."""
        return self.action_embedding(
            sinusoidal_embedding_1d(self.config.freq_dim, actions).to(self.head.head.weight.dtype)
        )
