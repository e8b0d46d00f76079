"""Cosmos-Predict2's config literals: 2B, bidirectional, a whole clip in one pass from text or from a picture."""

from __future__ import annotations

from flashdreams.infra.diffusion.model.base import DiffusionModelConfig
from flashdreams.infra.diffusion.scheduler import FlowMatchUniPCSchedulerConfig
from flashdreams.recipes.cosmos.pipeline import CosmosInferencePipelineConfig
from flashdreams.recipes.cosmos.transformer import CosmosTransformerConfig
from flashdreams.recipes.cosmos.transformer.constants import NEGATIVE_PROMPT
from flashdreams.recipes.wan import WanVAEDecoderConfig, WanVAEEncoderConfig
from flashdreams.recipes.wan.model import WanModel, runners_of
from flashdreams.recipes.wan.prompts import PICTURE_PROMPT, TEXT_SCENES

T2V, I2V = "cosmos2-t2v-2b-720p", "cosmos2-i2v-2b-720p"
CHECKPOINT = "hf://nvidia/Cosmos-Predict2.5-2B/base/post-trained/81edfebe-bd6a-4039-8c1d-737df1a790bf_ema_bf16.pt"
"""Keys of Cosmos-Predict2 below `net.`; one network for text and for pictures."""
HEIGHT, WIDTH, FPS = 704, 1280, 16
LEN_T = 24
"""Latents of a clip: 93 frames."""
GUIDANCE = 7.0
"""Weight of the difference that the prompt makes, added to the flow of the prompt."""


def cosmos_pipeline(slug: str) -> CosmosInferencePipelineConfig:
    """Prompt, and picture for `I2V` -> 35 guided UniPC steps over 24 latents -> 93 frames."""
    picture = slug == I2V
    return CosmosInferencePipelineConfig(
        name=slug,
        image_encoder=WanVAEEncoderConfig() if picture else None,
        negative_prompt=NEGATIVE_PROMPT,
        diffusion_model=DiffusionModelConfig(
            transformer=CosmosTransformerConfig(
                checkpoint_path=CHECKPOINT,
                len_t=LEN_T,
                window_size_t=LEN_T,
                guidance_scale=1 + GUIDANCE,
                skip_finalize_kv_cache=True,
                conditional_frame_timestep=0.1 if picture else None,
            ),
            scheduler=FlowMatchUniPCSchedulerConfig(num_inference_steps=35, shift=5.0),
            seed=42,
        ),
        decoder=WanVAEDecoderConfig(),
    )


def _model(slug: str) -> WanModel:
    picture = slug == I2V
    return WanModel(
        description=f"Cosmos-Predict2 2B: six seconds from {'a picture and text' if picture else 'text'}, in one pass",
        pipeline=cosmos_pipeline(slug),
        height=HEIGHT,
        width=WIDTH,
        fps=FPS,
        prompt=PICTURE_PROMPT if picture else TEXT_SCENES[0].prompt,
        chunks=1,
        runner_options={"one_pass": True},
    )


MODELS = (_model(T2V), _model(I2V))
PIPELINES = {model.slug: model.pipeline for model in MODELS}
RUNNERS = runners_of(MODELS)
