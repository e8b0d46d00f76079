"""LingBot-World's transformer, streaming: Wan 2.1's with the embedded camera of the present chunk beside the image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from flashdreams.integrations.lingbot_world.camera import LingBotCtrl
from flashdreams.integrations.lingbot_world.network import LingBotNetwork, LingBotNetworkConfig
from flashdreams.recipes.wan import Wan21Transformer, Wan21TransformerCache, Wan21TransformerConfig


@dataclass(kw_only=True)
class LingBotTransformerConfig(Wan21TransformerConfig):
    """Config of `LingBotTransformer`."""

    _target: type = field(default_factory=lambda: LingBotTransformer)

    network: LingBotNetworkConfig
    """Sizes and options of the network."""
    concat_image_mask_to_latent: bool = True
    """The network reads 4 mask channels and the image latent after the noisy latent."""


class LingBotTransformer(Wan21Transformer):
    """Every chunk's `input` is a `LingBotCtrl`."""

    network: LingBotNetwork

    def patchify_and_maybe_split_cp(self, x: Any) -> Any:
        """A latent `[..., T, C, H, W]` or a `LingBotCtrl` of such, as tokens."""
        if not isinstance(x, LingBotCtrl):
            return super().patchify_and_maybe_split_cp(x)
        latent, mask, camera = map(self.network.patchify_and_maybe_split_cp, (x.latent, x.mask, x.camera))
        return LingBotCtrl(latent=latent, mask=mask, camera=camera)

    def new_block_inputs(self, shape: tuple[int, ...]) -> dict[str, Tensor]:
        """Room for the camera `[*batch, L, dim]` of the present chunk."""
        size = (*shape[:-1], self.config.network.dim)
        return {"camera": torch.zeros(size, device=self.device, dtype=self.dtype)}

    @torch.no_grad()
    def predict_flow(
        self, noisy_latent: Tensor, timestep: Tensor, cache: Wan21TransformerCache, input: Any = None
    ) -> Tensor:
        """Flow of the present chunk; its camera is embedded before its first step."""
        if cache.conditions is not None and cache.conditions.present != cache.autoregressive_index:
            if not isinstance(input, LingBotCtrl):
                raise ValueError(f"input must be a LingBotCtrl at every chunk, got {type(input).__name__}")
            cache.block_inputs["camera"].copy_(self.network.embed_camera(input.camera))
        return super().predict_flow(noisy_latent, timestep, cache, input)
