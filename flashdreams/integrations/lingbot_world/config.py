"""LingBot-World's config literals: Wan, causal, four steps, steered by a camera, told by a picture and text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

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
V2_REPOSITORY = "hf://robbyant/lingbot-world-v2-14b-causal-fast"
V2_CHECKPOINT = f"{V2_REPOSITORY}/transformers/diffusion_pytorch_model.safetensors.index.json"
V2_SMALL_CHECKPOINT = "hf://robbyant/lingbot-world-v2-1.3b-causal-fast/model.safetensors.index.json"
"""Sharded, with the keys of the first model."""
SLUG = "lingbot-world-fast"
STREAMING = f"{SLUG}-taehv-window15-sink3"
V2_SLUG = "lingbot-world-v2-14b-causal-fast"
V2_STREAMING = f"{V2_SLUG}-taehv-window15-sink3"
V2_SMALL = "lingbot-world-v2-1p3b-causal-fast-perf"
V2_SMALL_TINY = f"{V2_SMALL}-taehv"
HEIGHT, WIDTH, FPS = 464, 832, 16
PARAMETERS, SMALL_PARAMETERS = 18_544_332_864, 1_709_502_016
"""Of the transformers of 14B and 1.3B; a test counts them."""


class Memory(TypedDict):
    """Latents in the KV cache."""

    window: int
    """Newest ones."""
    sink: int
    """First ones of a rollout, which stay."""


@dataclass(frozen=True, kw_only=True)
class LingBotRow:
    """Differences between the published models."""

    checkpoint: str
    """The transformer's weights."""
    timesteps: tuple[int, ...] = (1000, 750, 500, 250)
    """One per step, before the warp."""
    shift: float = 10.0
    """Warp of the noise levels towards noise."""
    len_t: int = 4
    """Latents per chunk."""
    small: bool = False
    """True for the network of 1.3B."""

    def network(self) -> LingBotNetworkConfig:
        """Return the network's sizes."""
        if not self.small:
            return LingBotNetworkConfig()
        return LingBotNetworkConfig(dim=1536, ffn_dim=8960, num_heads=12, num_layers=30)


V1 = LingBotRow(checkpoint=CHECKPOINT, timesteps=(1000, 821, 642, 321), len_t=3)
V2 = LingBotRow(checkpoint=V2_CHECKPOINT)
V2_1PT3B = LingBotRow(checkpoint=V2_SMALL_CHECKPOINT, shift=5.0, small=True)
"""The rows of the second version are its authors'. FlashDreams runs its 14B with that of the first instead."""


def lingbot_pipeline(
    slug: str, decoder: DecoderConfig, *, window: int, sink: int, row: LingBotRow = V1
) -> CameraPipelineConfig:
    """Picture, prompt and camera -> four denoising steps per chunk of `len_t` latents -> frames.

    `window`: newest latents in the KV cache; `sink`: first ones that stay there.
    """
    return CameraPipelineConfig(
        name=slug,
        encoder=LingBotCtrlEncoderConfig(encoder=WanVAEEncoderConfig()),
        diffusion_model=DiffusionModelConfig(
            transformer=LingBotTransformerConfig(
                network=row.network(),
                checkpoint_path=row.checkpoint,
                len_t=row.len_t,
                window_size_t=window,
                sink_size_t=sink,
            ),
            scheduler=FlowMatchSchedulerConfig(
                denoising_timesteps=list(row.timesteps),
                shift=row.shift,
                sigma_max=0.999,
                timestep_dtype=torch.int64,
            ),
            seed=42,
            context_noise=0,
        ),
        decoder=decoder,
    )


def _model(name: str, about: str, pipeline: CameraPipelineConfig, parameters: int = PARAMETERS) -> WanModel:
    return WanModel(
        title=name,
        description=f"{name}{about}",
        pipeline=pipeline,
        height=HEIGHT,
        width=WIDTH,
        fps=FPS,
        prompt=WALK_PROMPT,
        runner=LingBotRunnerConfig,
        controls=("keys", "look", "path", "text", "scene", "image"),
        scenes=PICTURE_SCENES,
        parameters=parameters,
        world=CameraWorldConfig,
        world_options={"lens": INTRINSICS, "lens_size": INTRINSICS_SIZE},
    )


SHORT = Memory(window=15, sink=3)
AUTHORS = Memory(window=12, sink=6)
"""Of the second version: 18 latents in all."""
MODELS = (
    _model(
        "LingBot-World 14B",
        ": walk through a picture, with all of the last 15 seconds in mind",
        lingbot_pipeline(SLUG, WanVAEDecoderConfig(), window=63, sink=0),
    ),
    _model(
        "LingBot-World 14B",
        " with the tiny decoder and a short memory, for long walks",
        lingbot_pipeline(STREAMING, TeahvVAEDecoderConfig(), **SHORT),
    ),
    _model(
        "LingBot-World v2 14B",
        ": long walks through a picture; events are told in words",
        lingbot_pipeline(V2_SLUG, WanVAEDecoderConfig(), **AUTHORS, row=V2),
    ),
    _model(
        "LingBot-World v2 14B",
        " with the tiny decoder and more recent memory",
        lingbot_pipeline(V2_STREAMING, TeahvVAEDecoderConfig(), **SHORT, row=V2),
    ),
    _model(
        "LingBot-World v2 1.3B",
        ": a smaller walk, for one consumer's card",
        lingbot_pipeline(V2_SMALL, WanVAEDecoderConfig(), **AUTHORS, row=V2_1PT3B),
        SMALL_PARAMETERS,
    ),
    _model(
        "LingBot-World v2 1.3B",
        " with the tiny decoder: the fastest",
        lingbot_pipeline(V2_SMALL_TINY, TeahvVAEDecoderConfig(), **AUTHORS, row=V2_1PT3B),
        SMALL_PARAMETERS,
    ),
)
PIPELINES = {model.slug: model.pipeline for model in MODELS}
RUNNERS, WORLDS = runners_of(MODELS), worlds_of(MODELS)
ALIASES = {V2_SMALL.replace("-perf", "-max-perf"): V2_SMALL_TINY}
"""Slugs that others know the same models by."""
