"""The streaming pipeline: encode, denoise and decode one chunk per call."""

from flashdreams.infra.pipeline.base import (
    StreamInferencePipeline,
    StreamInferencePipelineCache,
    StreamInferencePipelineConfig,
)

__all__ = [
    "StreamInferencePipeline",
    "StreamInferencePipelineCache",
    "StreamInferencePipelineConfig",
]
