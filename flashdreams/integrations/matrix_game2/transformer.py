"""Matrix-Game 2.0's transformer, streaming: Wan 2.1's with the controls of the frames beside the image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from flashdreams.infra.diffusion.transformer.base import Transformer
from flashdreams.infra.temporal import causal_pixel_frames
from flashdreams.integrations.matrix_game2.network import (
    FRAMES_PER_LATENT,
    MatrixGameNetwork,
    MatrixGameNetworkConfig,
)
from flashdreams.recipes.wan import I2VCtrl, Wan21Transformer, Wan21TransformerCache, Wan21TransformerConfig
from flashdreams.recipes.wan.transformer.checkpoints import load_published
from flashdreams.recipes.wan.transformer.rollout_cache import Branch, RopeTables


@dataclass(kw_only=True)
class MatrixGameCtrl(I2VCtrl):
    """Control of a chunk: image latent and mask, as latents or as tokens, and the vectors of its frames."""

    keyboard: Tensor
    """`[*batch, F, K]` of the chunk's own frames: `1 + 4 (len_t - 1)` in the first chunk, `4 len_t` in all others."""
    mouse: Tensor | None = None
    """Pitch and yaw `[*batch, F, 2]`; None for a model without a mouse."""


@dataclass(kw_only=True)
class MatrixGameTransformerConfig(Wan21TransformerConfig):
    """Config of `MatrixGameTransformer`."""

    _target: type = field(default_factory=lambda: MatrixGameTransformer)

    network: MatrixGameNetworkConfig = field(default_factory=MatrixGameNetworkConfig)
    """Sizes and options of the network."""
    len_t: int = 3
    """Latent frames per chunk."""
    window_size_t: int = 6
    """Newest latent frames in all of the caches, the present chunk included."""
    concat_image_mask_to_latent: bool = True
    """The network reads 4 mask channels and the image latent after the noisy latent."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sink_size_t or self.guidance_scale > 1:
            raise ValueError(
                f"sink_size_t must be 0 and guidance_scale 1, got {(self.sink_size_t, self.guidance_scale)}"
            )

    @property
    def window_in_chunks(self) -> bool:
        """False: the window of the driving model ends inside a chunk."""
        return False


@dataclass(kw_only=True, eq=False)
class MatrixGameTransformerCache(Wan21TransformerCache):
    """All state of one rollout, with the controls of its newest frames."""

    past: dict[str, Tensor] = field(default_factory=dict)
    """Controls `[*batch, action_window, ...]` of the frames before the present chunk; empty in the first one."""
    present: dict[str, Tensor] = field(default_factory=dict)
    """Actions of the window and the present chunk, from its first step on."""
    actions: dict[str, Tensor] = field(default_factory=dict)
    """Their embeddings that the blocks read, likewise."""
    action_window: int = 0
    """Frames that a latent sees; the transformer sets it."""

    def start(self, autoregressive_index: int) -> None:
        """Turn to chunk `autoregressive_index`, whose controls are not known yet."""
        if autoregressive_index != self.autoregressive_index and self.present:
            self.past = {name: frames[..., -self.action_window :, :] for name, frames in self.present.items()}
        super().start(autoregressive_index)
        self.present, self.actions = {}, {}

    def restart(self) -> None:
        """Make this the cache of a new rollout of the same size."""
        super().restart()
        self.past, self.present, self.actions = {}, {}, {}


class MatrixGameTransformer(Wan21Transformer):
    """Every chunk's `input` is a `MatrixGameCtrl`; a rollout begins with CLIP features of a picture."""

    config: MatrixGameTransformerConfig
    network: MatrixGameNetwork
    cache_type = MatrixGameTransformerCache

    def load_published(self, state_dict: Mapping[str, Tensor]) -> None:
        """Load tensors in the published layout, with or without `model.` before every key.

        Raises ValueError that lists keys that are missing or unknown, and shapes that differ.
        """
        load_published(self.network, state_dict, self.config.state_dict_transform)

    def set_context_parallel_group(self, group: Any) -> None:
        """Share nothing: attention over time needs all latents of a position, so every process does all of the work."""
        Transformer.set_context_parallel_group(self, group)

    @torch.no_grad()
    def initialize_autoregressive_cache(  # type: ignore[override]
        self,
        *,
        height: int,
        width: int,
        image_embeddings: Tensor | None = None,
        text_embeddings: Tensor | None = None,
        **_unused: Any,
    ) -> MatrixGameTransformerCache:
        """Return the cache of a rollout of latents of `height` x `width`, before patchify.

        `image_embeddings [*batch_shape, 257, 1280]` are CLIP features of the picture; `text_embeddings` is another
        name for them, since they stand in the place of a prompt. Raises ValueError as in `Wan21Transformer`.
        """
        features = _features(image_embeddings, text_embeddings)
        cache = super().initialize_autoregressive_cache(height=height, width=width, text_embeddings=features)
        assert isinstance(cache, MatrixGameTransformerCache)
        cache.action_window = self.config.network.action_window
        return cache

    @torch.no_grad()
    def restart(
        self,
        cache: Wan21TransformerCache,
        *,
        image_embeddings: Tensor | None = None,
        text_embeddings: Tensor | None = None,
        **_unused: Any,
    ) -> None:
        """Make `cache` that of a new rollout of the same size; see `initialize_autoregressive_cache`."""
        super().restart(cache, text_embeddings=_features(image_embeddings, text_embeddings))

    @torch.no_grad()
    def predict_flow(
        self,
        noisy_latent: Tensor,
        timestep: Tensor,
        cache: Wan21TransformerCache,
        input: I2VCtrl | None = None,
        network_extra_kwargs: dict[str, Any] | None = None,
    ) -> Tensor:
        """Return the flow of the present chunk; its controls are read at its first step."""
        assert isinstance(cache, MatrixGameTransformerCache)
        if not cache.actions:
            if not isinstance(input, MatrixGameCtrl):
                raise ValueError(f"input must be a MatrixGameCtrl at every chunk, got {type(input).__name__}")
            self._read_controls(cache, input)
        extra = {**(network_extra_kwargs or {}), "block_extra_kwargs": cache.actions}
        return super().predict_flow(noisy_latent, timestep, cache, input, extra)

    def _read_controls(self, cache: MatrixGameTransformerCache, control: MatrixGameCtrl) -> None:
        c, index = self.config, cache.autoregressive_index
        own = self._checked_controls(control, index)
        # Frames before the first one count as the first one.
        past = cache.past or {
            name: frames[..., :1, :].expand(*frames.shape[:-2], c.network.action_window, -1)
            for name, frames in own.items()
        }
        cache.present = {name: torch.cat([past[name], frames], -2) for name, frames in own.items()}
        # Latent L sees the frames from 4 L - 12 on, and a chunk of index i > 0 begins with frame 4 len_t i - 3.
        first = 0 if index == 0 else FRAMES_PER_LATENT - 1
        seen = {
            name: frames[..., first:, :].unfold(-2, c.network.action_window, FRAMES_PER_LATENT).mT.contiguous()
            for name, frames in cache.present.items()
        }
        places = torch.arange(index * c.len_t, (index + 1) * c.len_t, device=self.device)
        cache.actions = {"rotation": self.network.action_rotation(places), **seen}

    def _checked_controls(self, control: MatrixGameCtrl, index: int) -> dict[str, Tensor]:
        """Return the controls in the weights' type; raise ValueError for other shapes than the chunk's."""
        c = self.config
        frames = causal_pixel_frames(index, c.len_t, FRAMES_PER_LATENT)
        sizes = {"keyboard": c.network.keyboard_dim, "mouse": c.network.mouse_dim}
        own = {}
        for name, size in sizes.items():
            given = getattr(control, name)
            wanted = [*c.batch_shape, frames, size] if size else None
            if (None if given is None else [*given.shape]) != wanted:
                got = None if given is None else [*given.shape]
                raise ValueError(f"{name} must be {wanted} for chunk {index}, got {got}")
            if given is not None:
                own[name] = given.to(self.device, self.dtype)
        return own

    def _branch(self, tokens: int, rotation: RopeTables, prompt: Tensor, image_embeddings: Tensor | None) -> Branch:
        c, branch = self.config, super()._branch(tokens, rotation, prompt, image_embeddings)
        batch = tuple(c.batch_shape)
        self.network.add_action_caches(branch.network, batch, tokens // c.len_t, c.len_t, c.window_size_t)
        return branch


def _features(image: Tensor | None, text: Tensor | None) -> Tensor:
    features = text if image is None else image
    if features is None:
        raise ValueError("image_embeddings must be given: this model begins with a picture")
    return features
