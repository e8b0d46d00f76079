"""LongLive's config literals: Wan 2.1 1.3B made causal, for long videos from text with changing prompts."""

from __future__ import annotations

from flashdreams.infra.decoder import DecoderConfig
from flashdreams.infra.diffusion.model.base import DiffusionModelConfig
from flashdreams.infra.diffusion.scheduler import FlowMatchSchedulerConfig
from flashdreams.integrations.longlive.lora import LoRAConfig
from flashdreams.integrations.longlive.transformer import LongLiveTransformerConfig
from flashdreams.recipes.taehv import TeahvVAEDecoderConfig
from flashdreams.recipes.wan import WanDiTNetwork1pt3BConfig, WanInferencePipelineConfig, WanVAEDecoderConfig
from flashdreams.recipes.wan.model import WanModel, runners_of, text_model, worlds_of

REPOSITORY = "hf://Efficient-Large-Model/LongLive-1.3B"
CHECKPOINT, LORA = f"{REPOSITORY}/models/longlive_base.pt", f"{REPOSITORY}/models/lora.pt"
"""Official keys below `generator.model.` or `model.`, and a LoRA of rank 256 on every linear layer of the blocks."""
SLUG, TINY = "longlive-1.3b", "longlive-1.3b-taehv"
CHUNKS = 40
"""Of 3 latents: 30 seconds."""
PARAMETERS = 1_418_996_800
"""Of the transformer; a test counts them."""


def longlive_pipeline(slug: str, decoder: DecoderConfig) -> WanInferencePipelineConfig:
    """Prompt -> four denoising steps per chunk of three latents -> 9 frames, then 12 per chunk."""
    return WanInferencePipelineConfig(
        name=slug,
        diffusion_model=DiffusionModelConfig(
            transformer=LongLiveTransformerConfig(
                network=WanDiTNetwork1pt3BConfig(),
                checkpoint_path=CHECKPOINT,
                lora=LoRAConfig(checkpoint_path=LORA),
            ),
            scheduler=FlowMatchSchedulerConfig(denoising_timesteps=[1000, 750, 500, 250], shift=5.0),
            seed=0,
            context_noise=0,
        ),
        decoder=decoder,
    )


def _model(about: str, pipeline: WanInferencePipelineConfig) -> WanModel:
    return text_model(
        title="LongLive",
        description=f"LongLive 1.3B{about}",
        pipeline=pipeline,
        chunks=CHUNKS,
        parameters=PARAMETERS,
    )


MODELS = (
    _model(
        ": long videos from text, whose prompt may change on the way", longlive_pipeline(SLUG, WanVAEDecoderConfig())
    ),
    _model(" with the tiny decoder: faster, a little softer", longlive_pipeline(TINY, TeahvVAEDecoderConfig())),
)
PIPELINES = {model.slug: model.pipeline for model in MODELS}
RUNNERS, WORLDS = runners_of(MODELS), worlds_of(MODELS)
