"""Rolling Forcing: long videos from text, of which a window of chunks is denoised together.

`RollingForcingModel.generate(i, cache)` finishes chunk `i`; the chunks after it wait part-denoised in `cache.noisy`.
"""

from flashdreams.integrations.rolling_forcing.model import RollingForcingModel, RollingForcingModelConfig
from flashdreams.integrations.rolling_forcing.transformer import (
    RollingForcingCache,
    RollingForcingTransformer,
    RollingForcingTransformerConfig,
)

__all__ = [
    "RollingForcingCache",
    "RollingForcingModel",
    "RollingForcingModelConfig",
    "RollingForcingTransformer",
    "RollingForcingTransformerConfig",
]
