"""The transformer: Wan's, whose input is a picture's control and a camera's."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from flashdreams.recipes.wan.transformer.wan21 import Wan21Transformer, Wan21TransformerCache, Wan21TransformerConfig
from orbit.encoder import OrbitCtrl
from orbit.network import OrbitNetworkCache, OrbitNetworkConfig


@dataclass(kw_only=True)
class OrbitTransformerCache(Wan21TransformerCache):
    """State of a rollout."""

    network_cache: OrbitNetworkCache
    network_cache_uncond: OrbitNetworkCache | None = None


@dataclass(kw_only=True)
class OrbitTransformerConfig(Wan21TransformerConfig):
    """Config of `OrbitTransformer`."""

    _target: type[OrbitTransformer] = field(default_factory=lambda: OrbitTransformer)

    network: OrbitNetworkConfig = field(default_factory=OrbitNetworkConfig)


class OrbitTransformer(Wan21Transformer):
    """Hands the camera's tokens to the network."""

    def __init__(self, config: OrbitTransformerConfig) -> None:
        super().__init__(config)

    def predict_flow(
        self, noisy_latent: Tensor, timestep: Tensor, cache: OrbitTransformerCache, input: OrbitCtrl
    ) -> Tensor:
        return super().predict_flow(
            noisy_latent=noisy_latent,
            timestep=timestep,
            cache=cache,
            input=input.picture,
            network_extra_kwargs={"camera": input.camera},
        )

    def postprocess_clean_latent(self, clean_latent: Tensor, cache: OrbitTransformerCache, input: OrbitCtrl) -> Tensor:
        return super().postprocess_clean_latent(clean_latent, cache, input.picture)

    def patchify_and_maybe_split_cp(self, x: Tensor | OrbitCtrl) -> Tensor | OrbitCtrl:
        if not isinstance(x, OrbitCtrl):
            return super().patchify_and_maybe_split_cp(x)
        if x._is_patchified:
            return x
        picture, camera = map(super().patchify_and_maybe_split_cp, (x.picture, x.camera))
        return OrbitCtrl(picture=picture, camera=camera, _is_patchified=True)
