"""LingBot-World's config literals: Wan 14B, causal, four steps, steered by a camera, told by a picture and text."""

from __future__ import annotations

import torch

from flashdreams.infra.decoder import DecoderConfig
from flashdreams.infra.diffusion.model.base import DiffusionModelConfig
from flashdreams.infra.diffusion.scheduler import FlowMatchSchedulerConfig
from flashdreams.integrations.lingbot_world.camera import INTRINSICS, INTRINSICS_SIZE, LingBotCtrlEncoderConfig
from flashdreams.integrations.lingbot_world.network import LingBotNetworkConfig
from flashdreams.integrations.lingbot_world.runner import LingBotRunnerConfig
from flashdreams.integrations.lingbot_world.transformer import LingBotTransformerConfig
from flashdreams.recipes.taehv import TeahvVAEDecoderConfig
from flashdreams.recipes.wan import WanVAEDecoderConfig, WanVAEEncoderConfig
from flashdreams.recipes.wan.camera_pipeline import CameraPipelineConfig
from flashdreams.recipes.wan.camera_world import CameraWorldConfig
from flashdreams.recipes.wan.images import PICTURE_SCENES, WALK_PROMPT
from flashdreams.recipes.wan.model import WanModel, runners_of, worlds_of

CHECKPOINT = "hf://robbyant/lingbot-world-fast/diffusion_pytorch_model.safetensors.index.json"
"""Sharded, with the official Wan keys and the camera's, see README.md."""
SLUG = "lingbot-world-fast"
STREAMING = f"{SLUG}-taehv-window15-sink3"
HEIGHT, WIDTH, FPS = 464, 832, 16
LEN_T = 3
PARAMETERS = 18_544_332_864
"""Of the transformer; a test counts them."""


def lingbot_pipeline(slug: str, decoder: DecoderConfig, *, window: int, sink: int) -> CameraPipelineConfig:
    """Picture, prompt and camera -> four denoising steps per chunk of three latents -> 9 frames, then 12 per chunk.

    Args: newest latents in the KV cache, and first ones that stay there.
    """
    return CameraPipelineConfig(
        name=slug,
        encoder=LingBotCtrlEncoderConfig(encoder=WanVAEEncoderConfig()),
        diffusion_model=DiffusionModelConfig(
            transformer=LingBotTransformerConfig(
                network=LingBotNetworkConfig(),
                checkpoint_path=CHECKPOINT,
                len_t=LEN_T,
                window_size_t=window,
                sink_size_t=sink,
            ),
            scheduler=FlowMatchSchedulerConfig(
                denoising_timesteps=[1000, 821, 642, 321], shift=10.0, sigma_max=0.999, timestep_dtype=torch.int64
            ),
            seed=42,
            context_noise=0,
        ),
        decoder=decoder,
    )


def _model(about: str, pipeline: CameraPipelineConfig) -> WanModel:
    return WanModel(
        title="LingBot-World",
        description=f"LingBot-World 14B{about}",
        pipeline=pipeline,
        height=HEIGHT,
        width=WIDTH,
        fps=FPS,
        prompt=WALK_PROMPT,
        runner=LingBotRunnerConfig,
        controls=("keys", "look", "path", "text", "scene", "image"),
        scenes=PICTURE_SCENES,
        parameters=PARAMETERS,
        world=CameraWorldConfig,
        world_options={"lens": INTRINSICS, "lens_size": INTRINSICS_SIZE},
    )


MODELS = (
    _model(
        ": walk through a picture, with all of the last 15 seconds in mind",
        lingbot_pipeline(SLUG, WanVAEDecoderConfig(), window=63, sink=0),
    ),
    _model(
        " with the tiny decoder and a short memory, for long walks",
        lingbot_pipeline(STREAMING, TeahvVAEDecoderConfig(), window=15, sink=3),
    ),
)
PIPELINES = {model.slug: model.pipeline for model in MODELS}
RUNNERS, WORLDS = runners_of(MODELS), worlds_of(MODELS)
