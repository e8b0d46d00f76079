"""A picture, a prompt and an HD-map video to a drive: the streaming pipeline of OmniDreams."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from flashdreams.infra.memory.tracker import MetaRollout
from flashdreams.recipes.cosmos.pipeline import CosmosInferencePipeline, CosmosInferencePipelineConfig
from flashdreams.recipes.wan import WanVAEEncoderConfig
from flashdreams.recipes.wan.pipeline import WanInferencePipelineCache


@dataclass(kw_only=True)
class OmnidreamsPipelineConfig(CosmosInferencePipelineConfig):
    """Config of `OmnidreamsPipeline`; `encoder` makes the latents of the control video and of the first picture."""

    _target: type[OmnidreamsPipeline] = field(default_factory=lambda: OmnidreamsPipeline)

    def __post_init__(self) -> None:
        super().__post_init__()
        network, encoder = self.rollout.network, self.encoder
        if not isinstance(encoder, WanVAEEncoderConfig):
            raise TypeError(f"encoder must be a WanVAEEncoderConfig, got {type(encoder).__name__}")
        if not encoder.z_dim == network.control_channels == network.in_dim:
            reads = f"{network.in_dim} and {network.control_channels}"
            raise ValueError(f"the network reads {reads} channels of pictures and controls, not {encoder.z_dim}")
        if self.image_encoder is not None:
            raise ValueError("image_encoder must be None: the encoder makes the latent of the picture")

    @property
    def begins_with_image(self) -> bool:
        """True: every drive begins with a picture."""
        return True


class OmnidreamsPipeline(CosmosInferencePipeline):
    """See `OmnidreamsPipelineConfig`. Prompts, sizes and the picture are as in `WanInferencePipeline`."""

    config: OmnidreamsPipelineConfig

    @torch.no_grad()
    def generate(  # type: ignore[override]
        self, autoregressive_index: int, cache: WanInferencePipelineCache, control: Tensor
    ) -> Tensor:
        """Generate chunk `autoregressive_index`: video `[*batch, T, 3, H, W]` in [-1, 1].

        `control [*batch, T, 3, H, W]` in [-1, 1] is the HD map of the same frames. Raises ValueError for another size
        or number of frames; other errors as in `StreamInferencePipeline.generate`.
        """
        assert cache.image is not None
        frames = self.control_frames(autoregressive_index)
        *batch, _, channels, height, width = cache.image.shape
        if list(control.shape) != [*batch, frames, channels, height, width]:
            wanted = [*batch, frames, channels, height, width]
            raise ValueError(f"control must be {wanted} for this chunk, got {list(control.shape)}")
        return self.generate_with(autoregressive_index, cache, control.to(self.device))

    def control_frames(self, autoregressive_index: int) -> int:
        """Frames of a chunk, and of its control."""
        encoder = self.encoder
        return int(encoder.get_input_temporal_size(autoregressive_index, self.config.rollout.len_t))  # type: ignore

    def blank_rollout(self, height: int, width: int) -> MetaRollout:
        """See `StreamInferencePipeline.blank_rollout`; raises ValueError for sizes the model cannot dream."""
        batch = self.config.rollout.batch_shape

        def control(chunk: int) -> Tensor:
            return torch.zeros(*batch, self.control_frames(chunk), 3, height, width, device=self.device)

        return replace(super().blank_rollout(height, width), input=control)

    def _image_context(self, image: Tensor | None) -> dict[str, Tensor]:
        assert self.encoder is not None
        self.onload(self.encoder)
        return {"image_embeddings": self.encoder(image)}
