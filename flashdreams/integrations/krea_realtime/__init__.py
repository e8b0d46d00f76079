"""Krea Realtime 14B: video from text, whose past is read again from clean latents for every chunk."""

from flashdreams.integrations.krea_realtime.pipeline import KreaPipeline, KreaPipelineCache, KreaPipelineConfig
from flashdreams.integrations.krea_realtime.transformer import (
    KreaTransformer,
    KreaTransformerCache,
    KreaTransformerConfig,
)

__all__ = [
    "KreaPipeline",
    "KreaPipelineCache",
    "KreaPipelineConfig",
    "KreaTransformer",
    "KreaTransformerCache",
    "KreaTransformerConfig",
]
