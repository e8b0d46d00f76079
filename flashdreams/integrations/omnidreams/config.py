"""OmniDreams' config literals: a Cosmos-Predict2 2B model distilled to two steps, driving along an HD map."""

from __future__ import annotations

from flashdreams.infra.decoder import DecoderConfig
from flashdreams.infra.diffusion.model.base import DiffusionModelConfig
from flashdreams.infra.diffusion.scheduler import FlowMatchSchedulerConfig
from flashdreams.integrations.omnidreams.pipeline import OmnidreamsPipelineConfig
from flashdreams.integrations.omnidreams.runner import OmnidreamsRunnerConfig
from flashdreams.recipes.cosmos import CosmosDiTNetworkConfig, CosmosTransformerConfig
from flashdreams.recipes.taehv import TeahvVAEDecoderConfig
from flashdreams.recipes.wan import AVAILABLE_WAN_VAE_CHECKPOINT_PATHS, WanVAEDecoderConfig, WanVAEEncoderConfig
from flashdreams.recipes.wan.model import WanModel, runners_of

CHECKPOINT = "hf://nvidia/omni-dreams-models/single_view/2b_res720p_30fps_i2v_hdmap_distilled.pt"
"""Keys of Cosmos-Predict2 below `net.`, and the embedding of the HD map; see README.md."""
SLUG = "omnidreams-sv-2steps-chunk2-loc6"
HEIGHT, WIDTH, FPS = 704, 1280, 30
PARAMETERS = 2_059_305_984
"""Of the transformer; a test counts them."""
PROMPT = "A drive through a quiet suburb in clear daylight, seen from behind the windscreen"


def omnidreams_pipeline(slug: str, encoder: WanVAEEncoderConfig, decoder: DecoderConfig) -> OmnidreamsPipelineConfig:
    """Picture, prompt and HD map -> two denoising steps per chunk of two latents -> 5 frames, then 8 per chunk."""
    return OmnidreamsPipelineConfig(
        name=slug,
        encoder=encoder,
        diffusion_model=DiffusionModelConfig(
            transformer=CosmosTransformerConfig(
                network=CosmosDiTNetworkConfig(control_channels=16),
                checkpoint_path=CHECKPOINT,
                len_t=2,
                window_size_t=6,
                h_extrapolation_ratio=3.0,
                w_extrapolation_ratio=3.0,
            ),
            scheduler=FlowMatchSchedulerConfig(num_inference_steps=2, denoising_timesteps=[1000, 450], shift=5.0),
            seed=42,
            context_noise=128,
        ),
        decoder=decoder,
    )


def _model(about: str, pipeline: OmnidreamsPipelineConfig) -> WanModel:
    return WanModel(
        description=f"OmniDreams 2B{about}",
        pipeline=pipeline,
        height=HEIGHT,
        width=WIDTH,
        fps=FPS,
        prompt=PROMPT,
        runner=OmnidreamsRunnerConfig,
    )


MODELS = (
    _model(
        ": a drive along an HD-map video, two steps a chunk",
        omnidreams_pipeline(
            SLUG,
            WanVAEEncoderConfig(checkpoint_path=AVAILABLE_WAN_VAE_CHECKPOINT_PATHS["lightvae"]),
            TeahvVAEDecoderConfig(),
        ),
    ),
    _model(
        " with the whole of Wan's autoencoder: slower, a little sharper",
        omnidreams_pipeline(f"{SLUG}-vae", WanVAEEncoderConfig(), WanVAEDecoderConfig()),
    ),
)
PIPELINES = {model.slug: model.pipeline for model in MODELS}
RUNNERS = runners_of(MODELS)
ALIASES = {
    f"{SLUG}-lightvae-lighttae": SLUG,
    f"{SLUG}-lightvae-lighttae-perf": SLUG,
    f"{SLUG}-vae-vae": f"{SLUG}-vae",
}
"""Slugs that others know the same models by."""
