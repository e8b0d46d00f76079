"""The pocket world's denoiser: a small `WanDiTNetwork` that predicts the clean latent from noise, place and past."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from flashdreams.core.attention import RotaryPositionEmbedding3D
from flashdreams.core.distributed.context_parallel import check_shares, group_size
from flashdreams.infra.diffusion.scheduler.base import FlowPredictor
from flashdreams.infra.diffusion.transformer.base import Transformer, TransformerAutoregressiveCache, TransformerConfig
from flashdreams.integrations.pocket.model.codec import LATENT_CHANNELS, LATENT_SIZE
from flashdreams.recipes.wan import WanDiTNetwork, WanDiTNetworkCache, WanDiTNetworkConfig
from flashdreams.recipes.wan.transformer.rollout_cache import RopeTables
from flashdreams.recipes.wan.transformer.rows import NetworkRow, NetworkRows

PLACE_FEATURES = 160 + 49
"""Features of a token from the scene encoder: 160 of the place, 49 of the picture shown last."""
SCENE_TOKENS, SCENE_TOKEN_DIM = 4, 32
TOKENS = LATENT_SIZE[0] * LATENT_SIZE[1]
TIMESTEPS = 1000.0


def pocket_network() -> WanDiTNetworkConfig:
    """The network's sizes: 7.9 M parameters."""
    return WanDiTNetworkConfig(
        patch_size=(1, 1, 1),
        patch_embedding_type="linear",
        in_dim=LATENT_CHANNELS + PLACE_FEATURES,
        out_dim=LATENT_CHANNELS,
        dim=288,
        ffn_dim=864,
        num_heads=6,
        num_layers=6,
        freq_dim=128,
        text_len=SCENE_TOKENS,
        text_dim=SCENE_TOKEN_DIM,
    )


@dataclass(kw_only=True)
class PocketTransformerConfig(TransformerConfig):
    """Config of `PocketTransformer`."""

    _target: type = field(default_factory=lambda: PocketTransformer)

    network: WanDiTNetworkConfig = field(default_factory=pocket_network)
    """Sizes of the network."""
    scenes: int = 6
    """Number of places."""
    window_chunks: int = 6
    """Chunks that the KV cache holds, the present one included."""
    dtype: torch.dtype = torch.bfloat16
    """Type of the weights and latents."""


class PocketTransformerCache(TransformerAutoregressiveCache):
    """A rollout's state: the network's caches, and the index and rotation of the present chunk."""

    def __init__(self, network: WanDiTNetworkCache, rotation: RopeTables) -> None:
        self.network, self.rotation = network, rotation
        self.index = 0

    def start(self, autoregressive_index: int) -> None:
        """Turn to chunk `autoregressive_index`."""
        self.index = autoregressive_index
        self.rotation.turn_to(autoregressive_index)

    @property
    def fill(self) -> float:
        """Share of the window that holds tokens, 0 to 1."""
        return self.network.fill


class PocketTransformer(Transformer[PocketTransformerCache]):
    """One latent frame of 144 tokens per chunk; chunks attend to themselves and the `window_chunks - 1` before."""

    def __init__(self, config: PocketTransformerConfig) -> None:
        super().__init__(config)
        self.network = WanDiTNetwork(config.network)
        self.scene_tokens = nn.Parameter(torch.randn(config.scenes, SCENE_TOKENS, SCENE_TOKEN_DIM))
        head_dim = config.network.dim // config.network.num_heads
        self.rope = RotaryPositionEmbedding3D(head_dim, *LATENT_SIZE, 1, interleaved=True, device="cpu")
        self.to(config.dtype)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (1, self._share, LATENT_CHANNELS)

    def set_context_parallel_group(self, group: Any) -> None:
        """Share every chunk's tokens among the processes of `group`; ValueError where they do not divide."""
        check_shares(
            group, TOKENS, self.config.network.num_heads if self.config.network.cp_method == "ulysses" else None
        )
        self.network.set_context_parallel_group(group)
        self.cp_group = group

    def initialize_autoregressive_cache(self, *, scene: int) -> PocketTransformerCache:  # type: ignore[override]
        """A rollout in place `scene` (an index)."""
        tokens = self._tokens_of(scene)
        network = self.network.initialize_cache(self._share, self._share * self.config.window_chunks, 0, tokens)
        return PocketTransformerCache(network, RopeTables(self.rope, self.cp_group))

    def change_scene(self, cache: PocketTransformerCache, scene: int) -> None:
        """From the next chunk on the rollout is in another place; its past stays in the KV cache."""
        cache.network.cross_attn = self.network.cross_keys_values(self._tokens_of(scene))

    def predict_flow(
        self, noisy_latent: Tensor, timestep: Tensor, cache: PocketTransformerCache, input: Any = None
    ) -> Tensor:
        """`v = (x_t - x_0) / s` of the predicted clean latent `x_0`; `input` are the scene encoder's features."""
        clean = self._network(noisy_latent, timestep, cache, input)
        return flow_of(clean, noisy_latent, timestep)

    @property
    def takes_rows(self) -> bool:
        return group_size(self.cp_group) == 1

    def rows(self, caches: Sequence[PocketTransformerCache], inputs: Sequence[Tensor]) -> FlowPredictor:
        network = NetworkRows(self.network, [NetworkRow(c.network, c.rotation.tables, c.index) for c in caches])
        features = torch.cat(list(inputs))

        def predict_flow(noisy_latent: Tensor, timestep: Tensor) -> Tensor:
            clean = network(network_input(noisy_latent, timestep / TIMESTEPS, features), timestep)
            return flow_of(clean, noisy_latent, timestep)

        return predict_flow

    def finalize_kv_cache(
        self, noisy_latent: Tensor, timestep: Tensor, cache: PocketTransformerCache, input: Any = None
    ) -> None:
        """Nothing is left to do: every pass writes the chunk's keys and values, and the last one's stay.

        The denoiser is trained on pasts of every noise level: a pass over the clean latent would tell it nothing more.
        """

    def patchify_and_maybe_split_cp(self, x: Any) -> Any:
        """`[B, 1, C, 9, 16]` -> `[B, 144, C]`."""
        return self.network.patchify_and_maybe_split_cp(x)

    def unpatchify_and_maybe_gather_cp(self, x: Tensor) -> Tensor:
        """`[B, 144, C]` -> `[B, 1, C, 9, 16]`."""
        return self.network.unpatchify_and_maybe_gather_cp(*LATENT_SIZE, x)

    def _network(
        self, noisy_latent: Tensor, timestep: Tensor, cache: PocketTransformerCache, features: Tensor
    ) -> Tensor:
        x = network_input(noisy_latent, timestep / TIMESTEPS, features)
        return self.network(x, timestep, cache.network, cache.rotation.tables, cache.index)

    @property
    def _share(self) -> int:
        """Tokens of a chunk that this process holds."""
        return TOKENS // group_size(self.cp_group)

    def _tokens_of(self, scene: int) -> Tensor:
        return self.scene_tokens[scene : scene + 1]


def flow_of(clean: Tensor, noisy: Tensor, timestep: Tensor) -> Tensor:
    """`v = (x_t - x_0) / s` of noisy latents and the clean ones predicted of them."""
    level = (timestep.float() / TIMESTEPS).clamp_min(1e-3)
    return ((noisy.float() - clean.float()) / level).to(noisy.dtype)


def network_input(noisy: Tensor, level: Tensor, features: Tensor) -> Tensor:
    """Noisy latents at noise level `level` (0..1, broadcastable) beside the place's features.

    They are scaled by `1 - level`: pure noise says nothing, and a small network learns faster when it need not see it.
    """
    return torch.cat([noisy * (1 - level).to(noisy.dtype), features.to(noisy.dtype)], -1)
