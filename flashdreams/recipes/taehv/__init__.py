"""The tiny autoencoders' decoder, streaming: a fast stand-in for the decoder of Wan's VAE."""

from flashdreams.infra.decoder import DecoderConfig, StreamingVideoDecoder
from flashdreams.recipes.taehv.checkpoint import (
    AVAILABLE_TAEHV_CHECKPOINT_PATHS,
    StateDictTransform,
    compose,
    legacy_to_blocks_keys,
    lighttae_state_dict_transform,
    truncate_oversize_tgrow_weights,
)
from flashdreams.recipes.taehv.decoder import TAEHVDecoderConfig, TeahvVAEDecoder, TeahvVAEDecoderConfig
from flashdreams.recipes.taehv.encoder import TAEHVEncoder, TAEHVEncoderConfig
from flashdreams.recipes.taehv.impl import TAEHV, TAEHVCache

__all__ = [
    "AVAILABLE_TAEHV_CHECKPOINT_PATHS",
    "TAEHV",
    "DecoderConfig",
    "StateDictTransform",
    "StreamingVideoDecoder",
    "TAEHVCache",
    "TAEHVDecoderConfig",
    "TAEHVEncoder",
    "TAEHVEncoderConfig",
    "TeahvVAEDecoder",
    "TeahvVAEDecoderConfig",
    "compose",
    "legacy_to_blocks_keys",
    "lighttae_state_dict_transform",
    "truncate_oversize_tgrow_weights",
]
