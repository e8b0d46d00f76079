"""Decoders of clean latents into what is shown."""

from flashdreams.infra.decoder.base import (
    CausalVideoDecoder,
    DecoderConfig,
    StreamingDecoder,
    StreamingDecoderCache,
    StreamingDecoderCacheT,
    StreamingVideoDecoder,
)

__all__ = [
    "CausalVideoDecoder",
    "DecoderConfig",
    "StreamingDecoder",
    "StreamingDecoderCache",
    "StreamingDecoderCacheT",
    "StreamingVideoDecoder",
]
