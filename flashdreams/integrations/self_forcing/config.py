"""Self-Forcing's config literals: Wan 2.1 1.3B made causal and distilled to four steps, dreaming from text."""

from __future__ import annotations

from flashdreams.infra.decoder import DecoderConfig
from flashdreams.infra.diffusion.model.base import DiffusionModelConfig
from flashdreams.infra.diffusion.scheduler import FlowMatchSchedulerConfig
from flashdreams.recipes.taehv import TeahvVAEDecoderConfig
from flashdreams.recipes.wan import (
    Wan21TransformerConfig,
    WanDiTNetwork1pt3BConfig,
    WanInferencePipelineConfig,
    WanVAEDecoderConfig,
)
from flashdreams.recipes.wan.model import WanModel, runners_of, text_model, worlds_of

CHECKPOINT = "hf://gdhe17/Self-Forcing/checkpoints/self_forcing_dmd.pt"
"""Official keys below `generator_ema.model.` (and `generator.model.`), see README.md."""
SLUG = "self-forcing-wan2.1-t2v-1.3b"
LEN_T = 3
PARAMETERS = 1_418_996_800
"""Of the transformer; a test counts them."""


def self_forcing_pipeline(
    slug: str, decoder: DecoderConfig, *, window: int = 21, sink: int = 0
) -> WanInferencePipelineConfig:
    """Prompt -> four denoising steps per chunk of three latents -> 9 frames, then 12 per chunk.

    Args: newest latents in the KV cache, and first ones that stay there. With a sink, keys are rotated by their place
    in the cache, so that the sink never lies farther back than the model was trained on.
    """
    return WanInferencePipelineConfig(
        name=slug,
        diffusion_model=DiffusionModelConfig(
            transformer=Wan21TransformerConfig(
                network=WanDiTNetwork1pt3BConfig(apply_rope_before_kvcache=sink == 0),
                checkpoint_path=CHECKPOINT,
                len_t=LEN_T,
                window_size_t=window,
                sink_size_t=sink,
            ),
            scheduler=FlowMatchSchedulerConfig(denoising_timesteps=[1000, 750, 500, 250], shift=5.0),
            seed=42,
            context_noise=0,
        ),
        decoder=decoder,
    )


TINY, WINDOW = f"{SLUG}-taehv", f"{SLUG}-window7-sink5"
TINY_WINDOW = f"{TINY}-window7-sink5"
SHORT = {"window": 7, "sink": 5}
_ABOUT = "Self-Forcing 1.3B"


def _model(about: str, pipeline: WanInferencePipelineConfig) -> WanModel:
    return text_model(
        title="Self-Forcing",
        description=f"{_ABOUT}{about}",
        pipeline=pipeline,
        parameters=PARAMETERS,
    )


MODELS = (
    _model(": video from text, four steps a chunk", self_forcing_pipeline(SLUG, WanVAEDecoderConfig())),
    _model(
        " with the tiny decoder: faster, a little softer",
        self_forcing_pipeline(TINY, TeahvVAEDecoderConfig()),
    ),
    _model(
        " with a short memory, for long dreams",
        self_forcing_pipeline(WINDOW, WanVAEDecoderConfig(), **SHORT),
    ),
    _model(
        " with the tiny decoder and a short memory, for long dreams",
        self_forcing_pipeline(TINY_WINDOW, TeahvVAEDecoderConfig(), **SHORT),
    ),
)
PIPELINES = {model.slug: model.pipeline for model in MODELS}
RUNNERS, WORLDS = runners_of(MODELS), worlds_of(MODELS)
ALIASES = {f"{SLUG}-anti-drift": WINDOW, f"{SLUG}-sink5-window7-rerope": WINDOW}
"""Slugs that others know the same models by."""
