"""Decoders: what turns clean latents into what a person sees."""

from flashdreams.infra.decoder.base import (
    CausalVideoDecoder,
    DecoderConfig,
    StreamingDecoder,
    StreamingDecoderCache,
    StreamingVideoDecoder,
)

__all__ = [
    "CausalVideoDecoder",
    "DecoderConfig",
    "StreamingDecoder",
    "StreamingDecoderCache",
    "StreamingVideoDecoder",
]
