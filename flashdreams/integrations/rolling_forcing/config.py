"""Rolling Forcing's config literals: Wan 2.1 1.3B made causal, five chunks of which are denoised together."""

from __future__ import annotations

from flashdreams.infra.decoder import DecoderConfig
from flashdreams.infra.diffusion.scheduler import FlowMatchSchedulerConfig
from flashdreams.integrations.rolling_forcing.model import RollingForcingModelConfig
from flashdreams.integrations.rolling_forcing.runner import RollingForcingRunnerConfig
from flashdreams.integrations.rolling_forcing.transformer import RollingForcingTransformerConfig
from flashdreams.recipes.taehv import TeahvVAEDecoderConfig
from flashdreams.recipes.wan import WanDiTNetwork1pt3BConfig, WanInferencePipelineConfig, WanVAEDecoderConfig
from flashdreams.recipes.wan.model import WanModel, runners_of, text_model, worlds_of

CHECKPOINT = "hf://TencentARC/RollingForcing/checkpoints/rolling_forcing_dmd.pt"
"""Official keys below `generator_ema.` or `generator.`, see README.md."""
SLUG, TINY = "rolling-forcing-1.3b", "rolling-forcing-1.3b-taehv"
CHUNKS = 42
"""Of 3 latents: half a minute."""
STEPS = [1000, 800, 600, 400, 200]
PARAMETERS = 1_418_996_800
"""Of the transformer; a test counts them."""


def rolling_forcing_pipeline(slug: str, decoder: DecoderConfig) -> WanInferencePipelineConfig:
    """Prompt -> one pass over five chunks of three latents, which finishes one -> 9 frames, then 12 per chunk."""
    return WanInferencePipelineConfig(
        name=slug,
        diffusion_model=RollingForcingModelConfig(
            transformer=RollingForcingTransformerConfig(
                network=WanDiTNetwork1pt3BConfig(), checkpoint_path=CHECKPOINT, steps=len(STEPS)
            ),
            scheduler=FlowMatchSchedulerConfig(
                num_inference_steps=len(STEPS), denoising_timesteps=[*map(float, STEPS)], shift=5.0
            ),
            seed=0,
            context_noise=0,
        ),
        decoder=decoder,
    )


def _model(about: str, pipeline: WanInferencePipelineConfig) -> WanModel:
    return text_model(
        title="Rolling Forcing",
        description=f"Rolling Forcing 1.3B{about}",
        pipeline=pipeline,
        chunks=CHUNKS,
        runner=RollingForcingRunnerConfig,
        parameters=PARAMETERS,
    )


MODELS = (
    _model(
        ": long videos from text, five chunks of which are denoised together",
        rolling_forcing_pipeline(SLUG, WanVAEDecoderConfig()),
    ),
    _model(" with the tiny decoder: faster, a little softer", rolling_forcing_pipeline(TINY, TeahvVAEDecoderConfig())),
)
PIPELINES = {model.slug: model.pipeline for model in MODELS}
RUNNERS, WORLDS = runners_of(MODELS), worlds_of(MODELS)
