"""LingBot-World's transformer, streaming: Wan 2.1's with the embedded camera of the present chunk beside the image."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from flashdreams.integrations.lingbot_world.camera import LingBotCtrl
from flashdreams.integrations.lingbot_world.network import LingBotNetwork, LingBotNetworkConfig
from flashdreams.recipes.wan import I2VCtrl, Wan21Transformer, Wan21TransformerCache, Wan21TransformerConfig


@dataclass(kw_only=True)
class LingBotTransformerConfig(Wan21TransformerConfig):
    """Config of `LingBotTransformer`."""

    _target: type = field(default_factory=lambda: LingBotTransformer)

    network: LingBotNetworkConfig = field(default_factory=LingBotNetworkConfig)
    """Sizes and options of the network."""
    concat_image_mask_to_latent: bool = True
    """The network reads 4 mask channels and the image latent after the noisy latent."""

    @property
    def window_in_chunks(self) -> bool:
        """False: the second version's sink ends inside a chunk."""
        return False


@dataclass(kw_only=True, eq=False)
class LingBotTransformerCache(Wan21TransformerCache):
    """All state of one rollout, with the camera of the present chunk."""

    camera: Tensor | None = None
    """Embedded `[*batch, L, dim]`, from the chunk's first step on."""

    def start(self, autoregressive_index: int) -> None:
        """Turn to chunk `autoregressive_index`, whose camera is not embedded yet."""
        super().start(autoregressive_index)
        self.camera = None


class LingBotTransformer(Wan21Transformer):
    """Every chunk's `input` is a `LingBotCtrl`."""

    network: LingBotNetwork
    cache_type = LingBotTransformerCache

    def patchify_and_maybe_split_cp(self, x: Any) -> Any:
        """Return a latent `[..., T, C, H, W]` or a `LingBotCtrl` of such as tokens."""
        tokens = super().patchify_and_maybe_split_cp(x)
        if not isinstance(x, LingBotCtrl) or x._is_patchified:
            return tokens
        return replace(tokens, camera=self.network.patchify_and_maybe_split_cp(x.camera))

    @torch.no_grad()
    def predict_flow(
        self,
        noisy_latent: Tensor,
        timestep: Tensor,
        cache: Wan21TransformerCache,
        input: I2VCtrl | None = None,
        network_extra_kwargs: dict[str, Any] | None = None,
    ) -> Tensor:
        """Return the flow of the present chunk; its camera is embedded before its first step."""
        assert isinstance(cache, LingBotTransformerCache)
        if cache.camera is None:
            if not isinstance(input, LingBotCtrl):
                raise ValueError(f"input must be a LingBotCtrl at every chunk, got {type(input).__name__}")
            cache.camera = self.network.embed_camera(input.camera)
        extra = {**(network_extra_kwargs or {}), "block_extra_kwargs": {"camera": cache.camera}}
        return super().predict_flow(noisy_latent, timestep, cache, input, extra)
