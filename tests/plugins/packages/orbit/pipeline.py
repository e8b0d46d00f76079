"""The pipeline: a picture's frames come from the cache, the camera's angles from the caller."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from flashdreams.recipes.wan.pipeline import (
    WanInferencePipeline,
    WanInferencePipelineCache,
    WanInferencePipelineConfig,
)
from orbit.encoder import OrbitEncoderConfig, OrbitInput


@dataclass(kw_only=True)
class OrbitPipelineConfig(WanInferencePipelineConfig):
    """Config of `OrbitPipeline`."""

    _target: type[OrbitPipeline] = field(default_factory=lambda: OrbitPipeline)

    encoder: OrbitEncoderConfig = field(default_factory=OrbitEncoderConfig)


class OrbitPipeline(WanInferencePipeline):
    """Skips `WanInferencePipeline.generate`, which knows the picture alone."""

    @torch.no_grad()
    def generate(self, autoregressive_index: int, cache: WanInferencePipelineCache, input: Tensor) -> Tensor:
        assert cache.image is not None
        frames = self._preprocess_i2v_input(autoregressive_index, cache.image)
        return super(WanInferencePipeline, self).generate(
            autoregressive_index=autoregressive_index, cache=cache, input=OrbitInput(frames=frames, angles=input)
        )
