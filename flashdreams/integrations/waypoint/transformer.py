"""Waypoint on the library's contract: one latent per action, flow predicted against two kinds of KV cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from flashdreams.core.attention import BlockKVCache, DilatedKVCache, RopeTable
from flashdreams.infra.compile import compile_module
from flashdreams.integrations.waypoint.checkpoint import build_waypoint_network
from flashdreams.integrations.waypoint.network import WaypointNetwork, WaypointNetworkConfig
from flashdreams.integrations.waypoint.rope import WaypointRotaryPositionEmbedding
from flashdreams.recipes.patchified_transformer import PatchifiedTransformer, PatchifiedTransformerConfig, SizedCache
from flashdreams.recipes.wan.transformer.impl.modulation import Modulation
from flashdreams.recipes.wan.transformer.rollout_cache import RopeTables, steady_step


@dataclass(kw_only=True)
class WaypointControl:
    """The input of one action."""

    vector: Tensor
    """`[*batch_shape, 259]`: mouse (dx, dy), buttons (multi-hot), scroll; see `controls.control_vector`."""


@dataclass(kw_only=True)
class WaypointTransformerConfig(PatchifiedTransformerConfig):
    """Config of `WaypointTransformer`."""

    _target: type = field(default_factory=lambda: WaypointTransformer)

    network: WaypointNetworkConfig = field(default_factory=WaypointNetworkConfig)
    """Sizes of the network."""
    height: int = 32
    """Rows of a latent of a rollout that says none; 32 for 720P, 16 for 360P."""
    width: int = 64
    """Columns of a latent of a rollout that says none; 64 for 720P, 32 for 360P."""
    shared_conditioning: bool = False
    """Hold the `cond_proj` matrices once for all layers, 1.15 GB less in bf16; a file whose copies differ is
    refused."""
    len_t: int = field(default=1, init=False)
    """Latents per action."""
    window_size_t: int = field(init=False)
    """Latents that the window of the global layers spans, the present one included."""

    def __post_init__(self) -> None:
        self.window_size_t = self.network.global_latents * self.network.global_dilation
        _, rows, columns = self.network.patch_size
        if min(self.height, self.width) < 1 or self.height % rows or self.width % columns:
            raise ValueError(
                f"height and width of the latent must be multiples of {rows} and {columns}, "
                f"got {self.height} x {self.width}"
            )


class WaypointCache(SizedCache):
    """All state of one rollout in the transformer. Index 0 is the start picture's latent, actions begin at 1."""

    def __init__(self, height: int, width: int, layers: list[BlockKVCache], rotation: RopeTables) -> None:
        self.height, self.width = height, width
        self.layers, self.rotation = layers, rotation
        self.autoregressive_index: int | None = None
        self.steady: dict[bool, Callable[..., Tensor]] = {}
        """Runners of a step with full windows, for latents that global layers keep and for others."""

    def start(self, autoregressive_index: int) -> None:
        """Turn to latent `autoregressive_index`."""
        self.rotation.turn_to(autoregressive_index)
        self.autoregressive_index = autoregressive_index

    def restart(self) -> None:
        """Make this the cache of a new rollout of the same size: nothing is allocated, and graphs stay captured."""
        for layer in self.layers:
            layer.reset()
        self.autoregressive_index, self.rng = None, None

    @property
    def fill(self) -> float:
        """Share of the longest window that has been dreamed, 0 to 1."""
        newest = self.layers[0].chunk_idx
        return 0.0 if newest is None else min(1.0, (newest + 1) / max(map(_window, self.layers)))

    @property
    def nbytes(self) -> int:
        """Bytes of all KV buffers."""
        return sum(layer.nbytes for layer in self.layers)


class WaypointTransformer(PatchifiedTransformer[WaypointCache]):
    """See `PatchifiedTransformer`. A chunk is one latent, timesteps are noise levels (sigma, 0 to 1).

    `input` of a chunk is a `WaypointControl` (or its vector); None stands for no control at all, which training knew
    and play does not use: a neutral control is a vector of zeros.
    """

    config: WaypointTransformerConfig
    network: WaypointNetwork

    def __init__(self, config: WaypointTransformerConfig) -> None:
        """Raises what `build_waypoint_network` raises for a checkpoint that is missing or of another model."""
        super().__init__(config)
        self.network = build_waypoint_network(
            config.network, config.dtype, config.checkpoint_path, shared_conditioning=config.shared_conditioning
        ).requires_grad_(False)
        self._compiled = False

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """`[*batch_shape, L, C * 4]` of a latent of the config's size, this process's share."""
        network = self.config.network
        share = self._share(self.config.height, self.config.width)
        return (*self.config.batch_shape, share, network.out_dim * network.patch)

    def unpatchify_and_maybe_gather_cp(self, x: Tensor) -> Tensor:
        """Tokens of a latent of the config's size -> latent `[..., 1, C, H, W]`."""
        patches = self._patches(self.config.height, self.config.width)
        return self.network.unpatchify_and_maybe_gather_cp(*patches, x)

    def patchify_and_maybe_split_cp(self, x: Any) -> Any:
        """A latent `[..., 1, C, H, W]` as tokens; a `WaypointControl` as it is, since it has no tokens."""
        return x if isinstance(x, WaypointControl) else super().patchify_and_maybe_split_cp(x)

    @torch.no_grad()
    def initialize_autoregressive_cache(  # type: ignore[override]
        self, *, height: int | None = None, width: int | None = None
    ) -> WaypointCache:
        """A rollout of latents of `height` x `width` before patchify, the config's where they are None.

        Raises ValueError for sizes that patches do not divide.
        """
        height, width = height or self.config.height, width or self.config.width
        self._check_size(height, width)
        rope = WaypointRotaryPositionEmbedding(
            self.config.network.head_dim, *self._patches(height, width), device=self.device
        )
        layers = self.network.initialize_cache(self.config.batch_shape, self._share(height, width))
        rotation = RopeTables(rope, self.cp_group)
        cache = WaypointCache(height, width, layers, rotation)
        captured = self.config.use_cuda_graph and self.device.type == "cuda"
        for kept in (True, False):
            step = partial(self._steady_step, layers, rotation)
            cache.steady[kept] = steady_step(step, captured, self.config.cuda_graph_warmup_iters)
        return cache

    @torch.no_grad()
    def reuse_autoregressive_cache(  # type: ignore[override]
        self, cache: WaypointCache, *, height: int | None = None, width: int | None = None
    ) -> WaypointCache:
        """A new rollout in the memory of `cache`, with its captured graphs; a cache of another size is left alone."""
        if (cache.height, cache.width) != (height or self.config.height, width or self.config.width):
            return self.initialize_autoregressive_cache(height=height, width=width)
        cache.restart()
        return cache

    @torch.no_grad()
    def predict_flow(self, noisy_latent: Tensor, timestep: Tensor, cache: WaypointCache, input: Any = None) -> Tensor:
        """Velocity of the latent that `cache.start` turned to, at the noise level `timestep`, scalar or per video.

        Its keys and values replace those of the latent's earlier passes; the pass of `finalize_kv_cache` comes last,
        so that later latents see the clean one. Raises RuntimeError before `cache.start`.
        """
        index = cache.autoregressive_index
        if index is None:
            raise RuntimeError("cache.start(autoregressive_index) must come before the first step of a latent")
        if timestep.dim() > len(self.config.batch_shape):
            raise ValueError(f"timestep must be a scalar or one per video, got {list(timestep.shape)}")
        u = self.network.embed_control(_vector(input), noisy_latent.shape[:-2])
        modulation = self.network.modulation(timestep)
        for layer in cache.layers:
            layer.before_update(index)
        flow = self._flow(noisy_latent, modulation, u, cache, index)
        for layer in cache.layers:
            layer.after_update(index)
        return flow

    def _flow(self, x: Tensor, modulation: Modulation, u: Tensor, cache: WaypointCache, index: int) -> Tensor:
        tables = _one_table(cache.rotation)
        if not all(layer.is_steady_state() for layer in cache.layers):
            # Sizes still grow: `forward` itself, which is never compiled.
            return self.network.forward(x, modulation, u, cache.layers, tables)
        if x.is_cuda and self.config.compile_network and not self._compiled:
            compile_module(self.network)
            self._compiled = True
        return cache.steady[index % self.config.network.global_dilation == 0](x, modulation, u)

    def _steady_step(
        self, layers: list[BlockKVCache], rotation: RopeTables, x: Tensor, modulation: Modulation, u: Tensor
    ) -> Tensor:
        flow: Tensor = self.network(x, modulation, u, layers, _one_table(rotation))
        return flow


def _window(layer: BlockKVCache) -> int:
    """Latents that a layer's window spans."""
    dilation = layer.dilation if isinstance(layer, DilatedKVCache) else 1
    return layer.window_size // layer.chunk_size * dilation


def _one_table(rotation: RopeTables) -> RopeTable:
    tables = rotation.tables
    assert isinstance(tables, RopeTable)
    return tables


def _vector(control: Any) -> Tensor | None:
    """The control's vector. Raises TypeError for anything but a `WaypointControl`, a tensor and None."""
    vector = control.vector if isinstance(control, WaypointControl) else control
    if vector is None or isinstance(vector, Tensor):
        return vector
    raise TypeError(f"input must be a WaypointControl, its vector or None, got {type(control).__name__}")
