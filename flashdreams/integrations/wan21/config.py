"""Wan 2.1's config literals: the original bidirectional models, which make a whole clip in one pass."""

from __future__ import annotations

from flashdreams.infra.diffusion.model.base import DiffusionModelConfig
from flashdreams.infra.diffusion.scheduler import FlowMatchUniPCSchedulerConfig
from flashdreams.infra.encoder.image.clip import CLIPImageEncoderConfig
from flashdreams.recipes.wan import (
    NEGATIVE_PROMPT,
    Wan21TransformerConfig,
    WanDiTNetwork1pt3BConfig,
    WanDiTNetwork14BConfig,
    WanDiTNetworkConfig,
    WanI2VCtrlEncoderConfig,
    WanInferencePipelineConfig,
    WanVAEDecoderConfig,
    WanVAEEncoderConfig,
)
from flashdreams.recipes.wan.model import WanModel, runners_of
from flashdreams.recipes.wan.prompts import PICTURE_PROMPT, TEXT_SCENES

T2V_SMALL, T2V_LARGE, I2V = "wan21-t2v-1.3b-480p", "wan21-t2v-14b-480p", "wan21-i2v-14b-480p"
CHECKPOINTS = {
    T2V_SMALL: "hf://Wan-AI/Wan2.1-T2V-1.3B/diffusion_pytorch_model.safetensors",
    T2V_LARGE: "hf://Wan-AI/Wan2.1-T2V-14B/diffusion_pytorch_model.safetensors.index.json",
    I2V: "hf://Wan-AI/Wan2.1-I2V-14B-480P/diffusion_pytorch_model.safetensors.index.json",
}
"""The official files with the official keys."""
LEN_T = 21
"""Latents of a clip: 81 frames."""


def wan21_pipeline(
    slug: str, network: WanDiTNetworkConfig, *, steps: int, shift: float, guidance: float
) -> WanInferencePipelineConfig:
    """Prompt, and picture for a network that reads one -> `steps` guided UniPC steps over 21 latents -> 81 frames."""
    picture = network.cross_attn_enable_img
    return WanInferencePipelineConfig(
        name=slug,
        encoder=WanI2VCtrlEncoderConfig(encoder=WanVAEEncoderConfig()) if picture else None,
        image_encoder=CLIPImageEncoderConfig() if picture else None,
        negative_prompt=NEGATIVE_PROMPT,
        diffusion_model=DiffusionModelConfig(
            transformer=Wan21TransformerConfig(
                network=network,
                checkpoint_path=CHECKPOINTS[slug],
                len_t=LEN_T,
                window_size_t=LEN_T,
                guidance_scale=guidance,
                concat_image_mask_to_latent=picture,
            ),
            scheduler=FlowMatchUniPCSchedulerConfig(num_inference_steps=steps, shift=shift),
            seed=42,
        ),
        decoder=WanVAEDecoderConfig(),
    )


MODELS = (
    WanModel(
        description="Wan 2.1 1.3B: five seconds from text, in one pass",
        pipeline=wan21_pipeline(T2V_SMALL, WanDiTNetwork1pt3BConfig(), steps=50, shift=8.0, guidance=6.0),
        prompt=TEXT_SCENES[0].prompt,
        chunks=1,
        runner_options={"one_pass": True},
    ),
    WanModel(
        description="Wan 2.1 14B: five seconds from text, in one pass",
        pipeline=wan21_pipeline(T2V_LARGE, WanDiTNetwork14BConfig(), steps=50, shift=5.0, guidance=5.0),
        prompt=TEXT_SCENES[0].prompt,
        chunks=1,
        runner_options={"one_pass": True},
    ),
    WanModel(
        description="Wan 2.1 14B: five seconds from a picture and text, in one pass",
        pipeline=wan21_pipeline(
            I2V, WanDiTNetwork14BConfig(in_dim=36, cross_attn_enable_img=True), steps=40, shift=3.0, guidance=5.0
        ),
        prompt=PICTURE_PROMPT,
        chunks=1,
        runner_options={"one_pass": True},
    ),
)
PIPELINES = {model.slug: model.pipeline for model in MODELS}
RUNNERS = runners_of(MODELS)
