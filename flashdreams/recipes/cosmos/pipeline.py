"""Prompt, and picture where the model takes one, to video: the streaming pipeline of the Cosmos-Predict2 models."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from flashdreams.infra.encoder.text.cosmos_reason1 import CosmosReason1TextEncoder, CosmosReason1TextEncoderConfig
from flashdreams.infra.memory.tracker import MetaRollout
from flashdreams.recipes.cosmos.transformer import CosmosTransformerConfig
from flashdreams.recipes.wan.autoencoder.vae import WanVAEEncoderConfig
from flashdreams.recipes.wan.pipeline import (
    WanInferencePipeline,
    WanInferencePipelineCache,
    WanInferencePipelineConfig,
)

TEXT_TOKENS = 512
"""Tokens of a prompt, for the memory plan of a text encoder that does not say."""


@dataclass(kw_only=True)
class CosmosInferencePipelineCache(WanInferencePipelineCache):
    """All state of one rollout."""


@dataclass(kw_only=True)
class CosmosInferencePipelineConfig(WanInferencePipelineConfig):
    """Config of `CosmosInferencePipeline`."""

    _target: type[CosmosInferencePipeline] = field(default_factory=lambda: CosmosInferencePipeline)

    text_encoder: CosmosReason1TextEncoderConfig | None = field(default_factory=CosmosReason1TextEncoderConfig)
    """Makes embeddings of prompts; loaded when the first prompt comes. None takes embeddings only."""
    image_encoder: WanVAEEncoderConfig | None = None
    """Makes the latent of the picture that a rollout begins with; None begins with text alone."""

    def __post_init__(self) -> None:
        network, image, text = self.rollout.network, self.image_encoder, self.text_encoder
        if image is not None and image.z_dim != network.in_dim:
            raise ValueError(
                f"the network reads {network.in_dim} channels of a picture, image_encoder gives {image.z_dim}"
            )
        features = getattr(text, "embedding_dim", network.text_dim)
        if features != network.text_dim:
            raise ValueError(f"the network reads prompts of {network.text_dim} features, text_encoder makes {features}")

    @property
    def begins_with_image(self) -> bool:
        """True where a rollout needs a picture to begin with."""
        return self.image_encoder is not None

    @property
    def rollout(self) -> CosmosTransformerConfig:  # type: ignore[override]
        """The transformer's config."""
        transformer = self.diffusion_model.transformer
        if not isinstance(transformer, CosmosTransformerConfig):
            raise TypeError(f"transformer must be a CosmosTransformerConfig, got {type(transformer).__name__}")
        return transformer


class CosmosInferencePipeline(WanInferencePipeline):
    """See `CosmosInferencePipelineConfig`. Prompts, sizes and the picture are as in `WanInferencePipeline`."""

    config: CosmosInferencePipelineConfig
    text_encoder: CosmosReason1TextEncoder | None

    def initialize_cache(  # type: ignore[override]
        self,
        text: list[str] | Tensor,
        image: Tensor | None = None,
        *,
        height: int | None = None,
        width: int | None = None,
        **options: Any,
    ) -> CosmosInferencePipelineCache:
        """Return the cache of a rollout; sizes are those of the latent, and all is as in `WanInferencePipeline`."""
        base = super().initialize_cache(text, image, height=height, width=width, **options)
        return CosmosInferencePipelineCache(**vars(base))

    @torch.no_grad()
    def generate(self, autoregressive_index: int, cache: CosmosInferencePipelineCache) -> Tensor:  # type: ignore[override]
        """Generate chunk `autoregressive_index`: video `[*batch, T, 3, H, W]` in [-1, 1]."""
        return self.generate_with(autoregressive_index, cache, None)

    def blank_rollout(self, height: int, width: int) -> MetaRollout:
        """See `StreamInferencePipeline.blank_rollout`; raises ValueError for sizes the model cannot dream."""
        rollout, size = self.config.rollout, self.latent_size(height, width)
        network, batch, text = rollout.network, rollout.batch_shape, self.config.text_encoder
        kind: dict[str, Any] = {"device": self.device, "dtype": rollout.dtype}
        tokens = getattr(text, "text_len", getattr(text, "max_length", TEXT_TOKENS))
        prompt = torch.zeros(*batch, tokens, network.text_dim, **kind)
        context: dict[str, Any] = {**size, "text_embeddings": prompt}
        if rollout.requires_negative_text_embeddings:
            context["negative_text_embeddings"] = prompt
        if self.config.begins_with_image:
            context["image_embeddings"] = torch.zeros(*batch, 1, network.in_dim, size["height"], size["width"], **kind)
        chunks = (rollout.sink_size_t + rollout.window_frames) // rollout.len_t
        return MetaRollout(transformer_context=context, chunks=chunks)

    def _image_context(self, image: Tensor | None) -> dict[str, Tensor]:
        return {} if image is None else {"image_embeddings": self._embedded_image(image)}

    def _embedded_image(self, image: Tensor) -> Tensor:
        assert self.config.image_encoder is not None
        self.image_encoder = self._ready(self.image_encoder, self.config.image_encoder)
        embeddings: Tensor = self.image_encoder(image.cpu() if self.config.prompts_on_cpu else image)
        return embeddings.to(self.device)
