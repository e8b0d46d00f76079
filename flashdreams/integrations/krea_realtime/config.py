"""Krea Realtime's config literals: Wan 2.1 14B made causal and distilled to four steps, dreaming from text."""

from __future__ import annotations

from flashdreams.infra.decoder import DecoderConfig
from flashdreams.infra.diffusion.model.base import DiffusionModelConfig
from flashdreams.infra.diffusion.scheduler import FlowMatchSchedulerConfig
from flashdreams.integrations.krea_realtime.pipeline import KreaPipelineConfig
from flashdreams.integrations.krea_realtime.transformer import KreaTransformerConfig
from flashdreams.recipes.taehv import TeahvVAEDecoderConfig
from flashdreams.recipes.wan import WanVAEDecoderConfig
from flashdreams.recipes.wan.model import WanModel, runners_of, text_model, worlds_of

CHECKPOINT = "hf://krea/krea-realtime-video/krea-realtime-video-14b.safetensors"
"""Official keys below `model.`."""
SLUG, TINY = "krea-realtime-14b", "krea-realtime-14b-taehv"
CHUNKS = 9
"""Of 3 latents: the authors' default."""
PARAMETERS = 14_288_491_584
"""Of the transformer; a test counts them."""


def krea_pipeline(slug: str, decoder: DecoderConfig) -> KreaPipelineConfig:
    """Prompt -> four denoising steps per chunk of three latents, against the three before -> 9 frames, then 12."""
    return KreaPipelineConfig(
        name=slug,
        diffusion_model=DiffusionModelConfig(
            transformer=KreaTransformerConfig(checkpoint_path=CHECKPOINT),
            scheduler=FlowMatchSchedulerConfig(
                denoising_timesteps=[1000, 937, 833, 625], warp_denoising_step=False, shift=5.0
            ),
            seed=0,
            context_noise=0,
        ),
        decoder=decoder,
    )


def _model(about: str, pipeline: KreaPipelineConfig) -> WanModel:
    return text_model(
        title="Krea Realtime",
        description=f"Krea Realtime 14B{about}",
        pipeline=pipeline,
        chunks=CHUNKS,
        parameters=PARAMETERS,
    )


MODELS = (
    _model(": video from text by a large model, four steps a chunk", krea_pipeline(SLUG, WanVAEDecoderConfig())),
    _model(" with the tiny decoder: faster, a little softer", krea_pipeline(TINY, TeahvVAEDecoderConfig())),
)
PIPELINES = {model.slug: model.pipeline for model in MODELS}
RUNNERS, WORLDS = runners_of(MODELS), worlds_of(MODELS)
