"""The Wan family: the diffusion transformer that the published streaming models share."""

from flashdreams.recipes.wan.autoencoder.checkpoints import (
    AVAILABLE_WAN_VAE_CHECKPOINT_PATHS,
    WAN22_TI2V_5B_VAE_DIFFUSERS_PATH,
    WAN22_TI2V_5B_VAE_PATH,
    WanVAEShape,
    read_wan_vae_shape,
    wan22_ti2v_5b_vae_state_dict_transform,
)
from flashdreams.recipes.wan.autoencoder.i2v import (
    I2VCtrl,
    I2VCtrlEncoder,
    I2VCtrlEncoderCache,
    WanI2VCtrlEncoderConfig,
)
from flashdreams.recipes.wan.autoencoder.vae import (
    Wan22TI2V5BVAEDecoderConfig,
    Wan22TI2V5BVAEEncoderConfig,
    WanVAECache,
    WanVAEDecoder,
    WanVAEDecoderConfig,
    WanVAEEncoder,
    WanVAEEncoderConfig,
)
from flashdreams.recipes.wan.pipeline import (
    WanInferencePipeline,
    WanInferencePipelineCache,
    WanInferencePipelineConfig,
)
from flashdreams.recipes.wan.transformer.checkpoints import (
    WanCheckpoint,
    read_wan_checkpoint,
    wan_dit_state_dict_transform,
)
from flashdreams.recipes.wan.transformer.constants import NEGATIVE_PROMPT
from flashdreams.recipes.wan.transformer.impl.network import (
    WanDiTNetwork,
    WanDiTNetwork1pt3BConfig,
    WanDiTNetwork14BConfig,
    WanDiTNetworkCache,
    WanDiTNetworkConfig,
    WanDiTNetworkTI2V5BConfig,
)
from flashdreams.recipes.wan.transformer.rollout_cache import Wan21TransformerCache
from flashdreams.recipes.wan.transformer.wan21 import Wan21Transformer, Wan21TransformerConfig
from flashdreams.recipes.wan.transformer.wan22 import Wan22Transformer, Wan22TransformerCache, Wan22TransformerConfig

__all__ = [
    "AVAILABLE_WAN_VAE_CHECKPOINT_PATHS",
    "NEGATIVE_PROMPT",
    "WAN22_TI2V_5B_VAE_DIFFUSERS_PATH",
    "WAN22_TI2V_5B_VAE_PATH",
    "I2VCtrl",
    "I2VCtrlEncoder",
    "I2VCtrlEncoderCache",
    "Wan21Transformer",
    "Wan21TransformerCache",
    "Wan21TransformerConfig",
    "Wan22TI2V5BVAEDecoderConfig",
    "Wan22TI2V5BVAEEncoderConfig",
    "Wan22Transformer",
    "Wan22TransformerCache",
    "Wan22TransformerConfig",
    "WanCheckpoint",
    "WanDiTNetwork",
    "WanDiTNetwork1pt3BConfig",
    "WanDiTNetwork14BConfig",
    "WanDiTNetworkCache",
    "WanDiTNetworkConfig",
    "WanDiTNetworkTI2V5BConfig",
    "WanI2VCtrlEncoderConfig",
    "WanInferencePipeline",
    "WanInferencePipelineCache",
    "WanInferencePipelineConfig",
    "WanVAECache",
    "WanVAEDecoder",
    "WanVAEDecoderConfig",
    "WanVAEEncoder",
    "WanVAEEncoderConfig",
    "WanVAEShape",
    "read_wan_checkpoint",
    "read_wan_vae_shape",
    "wan22_ti2v_5b_vae_state_dict_transform",
    "wan_dit_state_dict_transform",
]
