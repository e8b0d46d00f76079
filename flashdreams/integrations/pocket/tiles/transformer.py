"""The tile network behind the library's transformer contract: the flow of a noisy tile, given its neighbours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from flashdreams.infra.diffusion.transformer import Transformer, TransformerAutoregressiveCache
from flashdreams.integrations.pocket.land.kinds import CONDITION
from flashdreams.integrations.pocket.land.state import CHANNELS
from flashdreams.integrations.pocket.tiles.config import WINDOW, TileTransformerConfig
from flashdreams.integrations.pocket.tiles.network import TileNetwork
from flashdreams.integrations.pocket.tiles.observation import Observation


class TileCache(TransformerAutoregressiveCache):
    """Inputs of one tile."""

    def __init__(self, known: Tensor, mask: Tensor, condition: Tensor) -> None:
        self.known, self.mask, self.condition = known, mask, condition
        self.observation: Observation | None = None
        """The part of the window that a picture shows, which stays as it is."""
        self.graph: Callable[..., Tensor] | None = None
        """The network as a graph, see `graphs`; None for the network itself."""


class TileTransformer(Transformer[TileCache]):
    """Flow of noisy windows `[1, 45, 48, 48]`; the network predicts the clean state."""

    def __init__(self, config: TileTransformerConfig) -> None:
        super().__init__(config)
        self.network = TileNetwork(config.widths, config.blocks, config.heads)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (1, CHANNELS, WINDOW, WINDOW)

    def initialize_autoregressive_cache(self, **context: Any) -> TileCache:
        """The cache of one tile: `known [1, 45, 48, 48]`, `mask [1, 1, 48, 48]`, `condition [1, 19, 48, 48]`."""
        shapes = {
            "known": self.latent_shape,
            "mask": (1, 1, WINDOW, WINDOW),
            "condition": (1, CONDITION, WINDOW, WINDOW),
        }
        if set(context) != set(shapes):
            raise TypeError(f"a tile is dreamed from {', '.join(shapes)}, got {', '.join(context) or 'nothing'}")
        for name, shape in shapes.items():
            if tuple(context[name].shape) != shape:
                raise ValueError(f"{name} must have shape {shape}, got {tuple(context[name].shape)}")
        return TileCache(**context)

    def predict_flow(self, noisy_latent: Tensor, timestep: Tensor, cache: TileCache, input: Any = None) -> Tensor:
        """`v = (x_s - x_0) / s`, with the predicted clean state for `x_0`; what is known stays as it is."""
        level = (timestep.float() / 1000).reshape(-1).expand(len(noisy_latent))
        clean = (cache.graph or self.network)(noisy_latent, level, cache.known, cache.mask, cache.condition)
        if cache.observation is not None:
            clean = cache.observation.imposed(clean)
        clean = torch.lerp(clean, cache.known, cache.mask)
        return (noisy_latent - clean) / level.view(-1, 1, 1, 1).clamp_min(1e-3)

    def patchify_and_maybe_split_cp(self, x: Any) -> Any:
        """States are not cut into tokens."""
        return x

    def unpatchify_and_maybe_gather_cp(self, x: Tensor) -> Tensor:
        """States are not cut into tokens."""
        return x
