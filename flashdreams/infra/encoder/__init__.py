"""Encoders: what turns an input (text, picture, video, camera path) into something the diffusion model understands."""

from flashdreams.infra.encoder.base import (
    Encoder,
    EncoderConfig,
    NullEncoder,
    NullEncoderConfig,
    StreamingEncoder,
    StreamingEncoderCache,
    StreamingVideoEncoder,
)

__all__ = [
    "Encoder",
    "EncoderConfig",
    "NullEncoder",
    "NullEncoderConfig",
    "StreamingEncoder",
    "StreamingEncoderCache",
    "StreamingVideoEncoder",
]
