"""A start picture and an action for each further chunk to video: Waypoint's streaming pipeline."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.infra.encoder import EncoderConfig, StreamingEncoder, StreamingEncoderCache
from flashdreams.infra.memory.tracker import MetaRollout
from flashdreams.infra.pipeline.base import (
    StreamInferencePipeline,
    StreamInferencePipelineCache,
    StreamInferencePipelineConfig,
)
from flashdreams.integrations.waypoint.transformer import WaypointControl, WaypointTransformerConfig
from flashdreams.recipes.taehv import TAEHVEncoder, TAEHVEncoderConfig
from flashdreams.recipes.taehv.impl import SPACE_RATIO, TIME_RATIO


@dataclass(kw_only=True)
class WaypointEncoderConfig(EncoderConfig):
    """Config of `WaypointEncoder`."""

    _target: type = field(default_factory=lambda: WaypointEncoder)

    encoder: TAEHVEncoderConfig
    """Makes the latent of the start picture."""


class WaypointEncoder(StreamingEncoder[StreamingEncoderCache]):
    """The start picture to its latent at chunk 0; controls of later chunks go through."""

    def __init__(self, config: WaypointEncoderConfig) -> None:
        super().__init__(config)
        self.encoder: TAEHVEncoder = config.encoder.setup()

    def initialize_autoregressive_cache(self) -> StreamingEncoderCache:  # type: ignore[override]
        """Return an empty cache: the picture is encoded at once."""
        return StreamingEncoderCache()

    @torch.no_grad()
    def forward(self, input: Any, autoregressive_index: int = 0, cache: StreamingEncoderCache | None = None) -> Any:
        """Return the latent `[..., 1, C, h, w]` of a picture `[..., 1, 3, H, W]` in [-1, 1], or the control given."""
        if isinstance(input, WaypointControl):
            return input
        still = input.expand(*input.shape[:-4], TIME_RATIO, *input.shape[-3:])
        return self.encoder(still)


@dataclass(kw_only=True)
class WaypointPipelineConfig(StreamInferencePipelineConfig):
    """Config of `WaypointPipeline`."""

    _target: type = field(default_factory=lambda: WaypointPipeline)

    encoder: WaypointEncoderConfig
    """Makes the latent of the start picture."""
    height: int
    """Rows of the shown picture, to which what is decoded is resized."""
    width: int
    """Columns of the shown picture."""

    def __post_init__(self) -> None:
        network, codec, decoder = self.rollout.network, self.encoder.encoder, self.decoder
        channels = {codec.latent_channels, getattr(decoder, "latent_channels", codec.latent_channels)}
        if channels != {network.in_dim}:
            raise ValueError(f"encoder and decoder must have the network's {network.in_dim} channels, got {channels}")
        if min(self.height, self.width) < 1:
            raise ValueError(f"height and width must be at least 1, got {self.height} x {self.width}")

    @property
    def rollout(self) -> WaypointTransformerConfig:
        """The transformer's config."""
        transformer = self.diffusion_model.transformer
        if not isinstance(transformer, WaypointTransformerConfig):
            raise TypeError(f"transformer must be a WaypointTransformerConfig, got {type(transformer).__name__}")
        return transformer

    @property
    def decoded_size(self) -> tuple[int, int]:
        """Rows and columns of pixels that a latent stands for."""
        ratio = SPACE_RATIO * self.encoder.encoder.patch_size
        return self.rollout.height * ratio, self.rollout.width * ratio


@dataclass(kw_only=True)
class WaypointPipelineCache(StreamInferencePipelineCache[Any, Any, Any]):
    """All state of one rollout."""

    image: Tensor | None
    """The start picture as it is encoded; None once it is."""


class WaypointPipeline(StreamInferencePipeline[Any, Any, Any]):
    """See `WaypointPipelineConfig`. Chunk 0 is the start picture, one frame; each later chunk is an action's four."""

    config: WaypointPipelineConfig

    @torch.no_grad()
    def initialize_cache(  # type: ignore[override]
        self, image: Tensor, *, seed: int | None = None, reuse: WaypointPipelineCache | None = None
    ) -> WaypointPipelineCache:
        """Return the cache of a new rollout that begins with `image [*batch, 1, 3, height, width]` in [-1, 1].

        `seed` and `reuse` are those of `StreamInferencePipeline.initialize_cache`. Raises ValueError for an image of
        another shape.
        """
        batch = self.config.rollout.batch_shape
        wanted = (*batch, 1, 3, self.config.height, self.config.width)
        if tuple(image.shape) != wanted:
            raise ValueError(f"image must be {list(wanted)}, got {list(image.shape)}")
        resized = F.interpolate(image.flatten(0, -4).float(), self.config.decoded_size, mode="bilinear", antialias=True)
        base = super().initialize_cache(seed=seed, reuse=reuse)
        values = {each.name: getattr(base, each.name) for each in fields(base)}
        return WaypointPipelineCache(**values, image=resized.reshape(*batch, 1, *resized.shape[1:]).to(self.device))

    @torch.no_grad()
    def generate(  # type: ignore[override]
        self, autoregressive_index: int, cache: WaypointPipelineCache, control: Tensor | None = None
    ) -> Tensor:
        """Return chunk `autoregressive_index`, `[*batch, T, 3, height, width]` in [-1, 1]; `T` is 1, then 4.

        `control [*batch, 259]` is the action's, see `control_vector`; None is the neutral one. Chunk 0 shows the start
        picture as the autoencoder has it, and takes no control. Other errors as in `StreamInferencePipeline.generate`.
        """
        if autoregressive_index == 0:
            if control is not None:
                raise ValueError("control must be None at chunk 0, which is the start picture")
            return self._shown(self._begin(cache))
        given = WaypointControl(vector=self._neutral() if control is None else control.to(self.device))
        return self._shown(super().generate(autoregressive_index, cache, given))

    def blank_rollout(self, height: int, width: int) -> MetaRollout:
        """See `StreamInferencePipeline.blank_rollout`; raises ValueError for another size than the config's."""
        if (height, width) != (self.config.height, self.config.width):
            size = f"{self.config.height} x {self.config.width}"
            raise ValueError(
                f"height and width must be {size}, which this model was trained for, got {height} x {width}"
            )

        def given(chunk: int) -> Any:
            if chunk > 0:
                return WaypointControl(vector=self._neutral())
            picture = (*self.config.rollout.batch_shape, 1, 3, *self.config.decoded_size)
            return torch.zeros(picture, device=self.device)

        return MetaRollout(transformer_context={}, chunks=self.config.rollout.window_size_t, input=given)

    def _begin(self, cache: WaypointPipelineCache) -> Tensor:
        """Chunk 0: the start picture's latent in place of a dreamed one, decoded."""
        assert self.encoder is not None and self.decoder is not None
        self._check_generate(0, cache, cache.image)
        model, rollout = self.diffusion_model, cache.transformer_cache
        with self._stage("encode", cache, self.encoder):
            latent = self.encoder(input=cache.image, autoregressive_index=0, cache=cache.encoder_cache)
        with self._stage("diffuse", cache, model.transformer):
            rollout.start(0)
            tokens = model.transformer.patchify_and_maybe_split_cp(latent.to(model.dtype))
        with self._stage("decode", cache, self.decoder):
            video = self.decoder(input=latent, autoregressive_index=0, cache=cache.decoder_cache)
        cache.final_state = type(model).FinalState(
            clean_latent=tokens,
            autoregressive_index=0,
            cache=rollout,
            input=WaypointControl(vector=self._neutral()),
        )
        cache.autoregressive_index, cache.finalized, cache.image = 0, False, None
        return video

    def _neutral(self) -> Tensor:
        """The control of nothing held and nothing moved."""
        rollout = self.config.rollout
        return torch.zeros(*rollout.batch_shape, rollout.network.control_dim, device=self.device)

    def _shown(self, video: Tensor) -> Tensor:
        size = (self.config.height, self.config.width)
        if tuple(video.shape[-2:]) == size:
            return video
        frames = F.interpolate(video.flatten(0, -4), size, mode="bilinear")
        return frames.reshape(*video.shape[:-2], *size)
