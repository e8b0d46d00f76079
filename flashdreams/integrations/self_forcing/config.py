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
from flashdreams.recipes.wan.prompts import TEXT_SCENES
from flashdreams.recipes.wan.runner import WanRunnerConfig
from flashdreams.recipes.wan.world import WanWorldConfig

CHECKPOINT = "hf://gdhe17/Self-Forcing/checkpoints/self_forcing_dmd.pt"
"""Official keys below `generator_ema.model.` (and `generator.model.`), see README.md."""
SLUG = "self-forcing-wan2.1-t2v-1.3b"
HEIGHT, WIDTH, FPS = 480, 832, 16
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


PIPELINES = {
    SLUG: self_forcing_pipeline(SLUG, WanVAEDecoderConfig()),
    f"{SLUG}-taehv": self_forcing_pipeline(f"{SLUG}-taehv", TeahvVAEDecoderConfig()),
    f"{SLUG}-taehv-window7-sink5": self_forcing_pipeline(
        f"{SLUG}-taehv-window7-sink5", TeahvVAEDecoderConfig(), window=7, sink=5
    ),
}
_ABOUT = {
    SLUG: "Self-Forcing 1.3B: video from text, four steps a chunk",
    f"{SLUG}-taehv": "Self-Forcing 1.3B with the tiny decoder: faster, a little softer",
    f"{SLUG}-taehv-window7-sink5": "Self-Forcing 1.3B with the tiny decoder and a short memory, for long dreams",
}
_SESSION_BYTES = {SLUG: 8_025_050_096, f"{SLUG}-taehv": 6_203_569_136, f"{SLUG}-taehv-window7-sink5": 3_625_300_976}
"""Of a rollout's caches, by the memory plan; a test makes it."""

RUNNERS = {
    slug: WanRunnerConfig(
        runner_name=slug,
        description=_ABOUT[slug],
        pipeline=pipeline,
        prompt=TEXT_SCENES[0].prompt,
        height=HEIGHT,
        width=WIDTH,
        fps=FPS,
    )
    for slug, pipeline in PIPELINES.items()
}
WORLDS = {
    slug: WanWorldConfig(
        slug=slug,
        title="Self-Forcing",
        description=_ABOUT[slug],
        pipeline=pipeline,
        width=WIDTH,
        height=HEIGHT,
        fps=FPS,
        controls=("text", "scene"),
        scenes=TEXT_SCENES,
        flows=True,
        session_bytes=_SESSION_BYTES[slug],
        parameters=PARAMETERS,
    )
    for slug, pipeline in PIPELINES.items()
}
