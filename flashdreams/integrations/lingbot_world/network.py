"""LingBot-World's transformer network: Wan with the camera's rays injected into every block.

Names of parameters are those of the published checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from flashdreams.recipes.wan import WanDiTNetwork, WanDiTNetwork14BConfig
from flashdreams.recipes.wan.transformer.impl.modules import Block

RAY_CHANNELS = 6
RAY_BLOCK = 8
"""Pixels along a side of a latent position: their rays become its channels."""
CAMERA_CHANNELS = RAY_CHANNELS * RAY_BLOCK**2


@dataclass
class LingBotNetworkConfig(WanDiTNetwork14BConfig):
    """Wan 14B that reads mask and image beside the noisy latent, and the camera."""

    _target: type = field(default_factory=lambda: LingBotNetwork)

    in_dim: int = 36
    """Latent channels that come in: 16 of noise, 4 of the mask, 16 of the image."""


class LingBotBlock(Block):
    """A Wan block that the camera scales and shifts between self-attention and cross-attention."""

    def __init__(self, dim: int, ffn_dim: int, num_heads: int, **options: Any) -> None:
        super().__init__(dim, ffn_dim, num_heads, **options)
        self.cam_injector_layer1, self.cam_injector_layer2 = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.cam_scale_layer, self.cam_shift_layer = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def inject(self, x: Tensor, camera: Tensor) -> Tensor:  # type: ignore[override]
        """`h = L2(silu(L1(p))) + p`, then `(1 + scale(h)) x + shift(h)`, for `x` and the camera `p [..., L, dim]`."""
        h = self.cam_injector_layer2(F.silu(self.cam_injector_layer1(camera))) + camera
        return x.addcmul(x, self.cam_scale_layer(h)).add_(self.cam_shift_layer(h))


class LingBotNetwork(WanDiTNetwork):
    """See `LingBotNetworkConfig`. Blocks get `camera [..., L, dim]`, which `embed_camera` makes once per chunk."""

    def __init__(self, config: LingBotNetworkConfig) -> None:
        super().__init__(config)
        dim = config.dim
        self.patch_embedding_wancamctrl = nn.Linear(CAMERA_CHANNELS * config.patch, dim)
        self.c2ws_hidden_states_layer1, self.c2ws_hidden_states_layer2 = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def _build_block(self, layer_idx: int) -> LingBotBlock:
        return LingBotBlock(**self.block_arguments())

    def embed_camera(self, rays: Tensor) -> Tensor:
        """Patchified rays `[..., L, 384 kt kh kw]` -> `p [..., L, dim]`: `e = W rays`, `p = L2(silu(L1(e))) + e`."""
        e = self.patch_embedding_wancamctrl(rays.to(self.head.head.weight.dtype))
        return self.c2ws_hidden_states_layer2(F.silu(self.c2ws_hidden_states_layer1(e))) + e
