"""Wan 2.2's config literals: TI2V 5B in one pass, and the causal 14B pair of networks, chunk after chunk."""

from __future__ import annotations

from typing import Any

from flashdreams.infra.diffusion.model.base import DiffusionModelConfig
from flashdreams.infra.diffusion.scheduler import FlowMatchSchedulerConfig, FlowMatchUniPCSchedulerConfig
from flashdreams.recipes.wan import (
    NEGATIVE_PROMPT,
    Wan21TransformerConfig,
    Wan22TI2V5BVAEDecoderConfig,
    Wan22TI2V5BVAEEncoderConfig,
    Wan22TransformerConfig,
    WanDiTNetwork14BConfig,
    WanDiTNetworkTI2V5BConfig,
    WanI2VCtrlEncoderConfig,
    WanInferencePipelineConfig,
    WanVAEDecoderConfig,
)
from flashdreams.recipes.wan.model import WanModel, runners_of, worlds_of
from flashdreams.recipes.wan.prompts import PICTURE_PROMPT, TEXT_SCENES

TI2V, TI2V_TEXT, CAUSAL = "wan22-ti2v-5b", "wan22-ti2v-5b-text", "causal-wan22-t2v-14b"
TI2V_CHECKPOINT = "hf://Wan-AI/Wan2.2-TI2V-5B/diffusion_pytorch_model.safetensors.index.json"
"""The official file with the official keys."""
CAUSAL_REPOSITORY = "hf://FastVideo/CausalWan2.2-I2V-A14B-Preview-Diffusers"
"""Two networks with the keys of diffusers: `transformer` for the noisy steps, `transformer_2` for the others."""
TI2V_LEN_T = 31
"""Latents of a clip: 121 frames."""
TI2V_VIDEO: dict[str, Any] = {
    "height": 704,
    "width": 1280,
    "fps": 24,
    "chunks": 1,
    "runner_options": {"one_pass": True},
}
CAUSAL_HEIGHT, CAUSAL_WIDTH, CAUSAL_FPS = 480, 832, 16
CAUSAL_PARAMETERS = 28_576_983_168
"""Of both networks; a test counts them."""


def ti2v_pipeline(slug: str) -> WanInferencePipelineConfig:
    """Prompt, and picture for `TI2V` -> 40 guided UniPC steps over 31 latents -> 121 frames.

    The picture's latent is stamped into the first place, and its tokens are told that they are clean.
    """
    picture = slug == TI2V
    return WanInferencePipelineConfig(
        name=slug,
        encoder=WanI2VCtrlEncoderConfig(encoder=Wan22TI2V5BVAEEncoderConfig()) if picture else None,
        negative_prompt=NEGATIVE_PROMPT,
        diffusion_model=DiffusionModelConfig(
            transformer=Wan21TransformerConfig(
                network=WanDiTNetworkTI2V5BConfig(),
                checkpoint_path=TI2V_CHECKPOINT,
                len_t=TI2V_LEN_T,
                window_size_t=TI2V_LEN_T,
                guidance_scale=5.0,
                stamp_image_latent=picture,
                ti2v_first_frame_per_token_timestep=picture,
            ),
            scheduler=FlowMatchUniPCSchedulerConfig(num_inference_steps=40, shift=5.0),
            seed=42,
        ),
        decoder=Wan22TI2V5BVAEDecoderConfig(),
    )


def causal_pipeline() -> WanInferencePipelineConfig:
    """Prompt -> eight denoising steps per chunk of three latents, noisy ones by one network, the rest by another."""
    high, low = (
        Wan21TransformerConfig(
            network=WanDiTNetwork14BConfig(),
            checkpoint_path=f"{CAUSAL_REPOSITORY}/{folder}/diffusion_pytorch_model.safetensors",
            len_t=3,
            window_size_t=21,
        )
        for folder in ("transformer", "transformer_2")
    )
    return WanInferencePipelineConfig(
        name=CAUSAL,
        diffusion_model=DiffusionModelConfig(
            transformer=Wan22TransformerConfig(
                transformer_high_noise=high, transformer_low_noise=low, boundary_ratio=0.875
            ),
            scheduler=FlowMatchSchedulerConfig(
                num_inference_steps=8, denoising_timesteps=[1000, 850, 700, 550, 350, 275, 200, 125], shift=5.0
            ),
            seed=42,
        ),
        decoder=WanVAEDecoderConfig(),
    )


MODELS = (
    WanModel(
        description="Wan 2.2 5B: five seconds of 704p from a picture and text, in one pass",
        pipeline=ti2v_pipeline(TI2V),
        prompt=PICTURE_PROMPT,
        **TI2V_VIDEO,
    ),
    WanModel(
        description="Wan 2.2 5B: five seconds of 704p from text, in one pass",
        pipeline=ti2v_pipeline(TI2V_TEXT),
        prompt=TEXT_SCENES[0].prompt,
        **TI2V_VIDEO,
    ),
    WanModel(
        title="Causal Wan 2.2",
        description="Causal Wan 2.2 14B: video from text, eight steps a chunk, two networks in turn",
        pipeline=causal_pipeline(),
        height=CAUSAL_HEIGHT,
        width=CAUSAL_WIDTH,
        fps=CAUSAL_FPS,
        prompt=TEXT_SCENES[0].prompt,
        controls=("text", "scene"),
        scenes=TEXT_SCENES,
        parameters=CAUSAL_PARAMETERS,
        world_options={"flows": True},
    ),
)
RUNNERS, WORLDS = runners_of(MODELS), worlds_of(MODELS)
ALIASES = {"fastvideo-causal-wan2.2-t2v-14b": CAUSAL}
"""Slugs that others know the same models by."""
