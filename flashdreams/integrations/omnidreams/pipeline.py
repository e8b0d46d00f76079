"""A picture, a prompt and an HD-map video to a drive: the streaming pipeline of OmniDreams."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from flashdreams.infra.encoder import EncoderConfig
from flashdreams.infra.encoder.text.cosmos_reason1 import CosmosReason1TextEncoderConfig
from flashdreams.infra.memory.tracker import BlankRollout
from flashdreams.infra.pipeline.base import StreamInferencePipeline
from flashdreams.recipes.cosmos import CosmosTransformerConfig
from flashdreams.recipes.wan import WanInferencePipeline, WanInferencePipelineConfig, WanVAEEncoderConfig
from flashdreams.recipes.wan.pipeline import WanInferencePipelineCache


@dataclass(kw_only=True)
class OmnidreamsPipelineConfig(WanInferencePipelineConfig):
    """Config of `OmnidreamsPipeline`; `encoder` makes the latents of the control video and of the first picture."""

    _target: type = field(default_factory=lambda: OmnidreamsPipeline)

    text_encoder: EncoderConfig = field(default_factory=CosmosReason1TextEncoderConfig)
    """Makes embeddings of prompts; loaded when the first prompt comes."""

    def __post_init__(self) -> None:
        network, encoder, text = self.rollout.network, self.encoder, self.text_encoder
        if not isinstance(encoder, WanVAEEncoderConfig):
            raise TypeError(f"encoder must be a WanVAEEncoderConfig, got {type(encoder).__name__}")
        if not encoder.z_dim == network.control_dim == network.in_dim:
            reads = f"{network.in_dim} and {network.control_dim}"
            raise ValueError(f"the network reads {reads} channels of pictures and controls, not {encoder.z_dim}")
        if self.image_encoder is not None:
            raise ValueError("image_encoder must be None: the encoder makes the latent of the picture")
        if isinstance(text, CosmosReason1TextEncoderConfig):
            makes, wanted = (text.text_len, text.embedding_dim), (network.text_len, network.text_dim)
            if makes != wanted:
                raise ValueError(
                    f"the network reads prompts of {wanted} tokens and features, text_encoder makes {makes}"
                )

    @property
    def rollout(self) -> CosmosTransformerConfig:  # type: ignore[override]
        """The transformer's config."""
        transformer = self.diffusion_model.transformer
        if not isinstance(transformer, CosmosTransformerConfig):
            raise TypeError(f"transformer must be a CosmosTransformerConfig, got {type(transformer).__name__}")
        return transformer


class OmnidreamsPipeline(WanInferencePipeline):
    """See `OmnidreamsPipelineConfig`. Prompts, sizes and the picture are as in `WanInferencePipeline`."""

    config: OmnidreamsPipelineConfig

    @torch.no_grad()
    def generate(  # type: ignore[override]
        self, autoregressive_index: int, cache: WanInferencePipelineCache, control: Tensor
    ) -> Tensor:
        """Dream chunk `autoregressive_index`: video `[*batch, T, 3, H, W]` in [-1, 1].

        `control [*batch, T, 3, H, W]` in [-1, 1] is the HD map of the same frames. Raises ValueError for another size
        or number of frames; other errors as in `StreamInferencePipeline.generate`.
        """
        assert cache.image is not None
        frames = self.control_frames(autoregressive_index)
        *batch, _, channels, height, width = cache.image.shape
        if list(control.shape) != [*batch, frames, channels, height, width]:
            wanted = [*batch, frames, channels, height, width]
            raise ValueError(f"control must be {wanted} for this chunk, got {list(control.shape)}")
        return StreamInferencePipeline.generate(self, autoregressive_index, cache, control.to(self.device))

    def control_frames(self, autoregressive_index: int) -> int:
        """Frames of a chunk, and of its control."""
        encoder = self.encoder
        return int(encoder.get_input_temporal_size(autoregressive_index, self.config.rollout.len_t))  # type: ignore

    def blank_rollout(self, height: int, width: int) -> BlankRollout:
        """See `StreamInferencePipeline.blank_rollout`; raises ValueError for sizes the model cannot dream."""
        rollout, ratio = self.config.rollout, self._ratio
        height, width = self._checked_size(height, width, None)
        network, batch = rollout.network, rollout.batch_shape
        kind: dict[str, Any] = {"device": self.device, "dtype": rollout.dtype}
        size = (height // ratio, width // ratio)
        context = {
            "height": size[0],
            "width": size[1],
            "text_embeddings": torch.zeros(*batch, network.text_len, network.text_dim, **kind),
            "picture": torch.zeros(*batch, 1, network.in_dim, *size, **kind),
        }

        def control(chunk: int) -> Tensor:
            return torch.zeros(*batch, self.control_frames(chunk), 3, height, width, device=self.device)

        return BlankRollout(transformer_context=context, chunks=rollout.window_size_t // rollout.len_t, input=control)

    def _image_context(self, image: Tensor | None) -> dict[str, Tensor]:
        assert self.encoder is not None
        self.take_turn(self.encoder)
        return {"picture": self.encoder(image)}
