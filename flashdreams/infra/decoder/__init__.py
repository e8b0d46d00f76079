"""Decoders: what turns clean latents into what a person sees."""

from flashdreams.infra.decoder.base import (
    DecoderConfig,
    StreamingDecoder,
    StreamingDecoderCache,
    StreamingVideoDecoder,
)

__all__ = ["DecoderConfig", "StreamingDecoder", "StreamingDecoderCache", "StreamingVideoDecoder"]
