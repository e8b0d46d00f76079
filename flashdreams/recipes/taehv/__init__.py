"""The tiny autoencoders' decoder, streaming: a fast stand-in for the decoder of Wan's VAE."""

from flashdreams.recipes.taehv.checkpoint import AVAILABLE_TAEHV_CHECKPOINT_PATHS, lighttae_state_dict_transform
from flashdreams.recipes.taehv.decoder import TAEHVCache, TAEHVDecoderConfig, TeahvVAEDecoder, TeahvVAEDecoderConfig

__all__ = [
    "AVAILABLE_TAEHV_CHECKPOINT_PATHS",
    "TAEHVCache",
    "TAEHVDecoderConfig",
    "TeahvVAEDecoder",
    "TeahvVAEDecoderConfig",
    "lighttae_state_dict_transform",
]
