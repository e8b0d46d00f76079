"""Config literals, and one derived from another."""

from __future__ import annotations

from flashdreams.infra.config import derive_config
from flashdreams.infra.diffusion.model import DiffusionModelConfig
from flashdreams.infra.diffusion.scheduler import FlowMatchSchedulerConfig
from flashdreams.infra.pipeline import StreamInferencePipelineConfig
from flashdreams.infra.world.base import Scene
from ripple.model import (
    COLUMNS,
    FRAMES,
    PIXELS,
    ROWS,
    RippleDecoderConfig,
    RippleEncoderConfig,
    RippleTransformerConfig,
)
from ripple.runner import RippleRunnerConfig
from ripple.world import RippleWorldConfig

PIPELINE = StreamInferencePipelineConfig(
    name="ripple",
    encoder=RippleEncoderConfig(),
    diffusion_model=DiffusionModelConfig(
        transformer=RippleTransformerConfig(),
        scheduler=FlowMatchSchedulerConfig(num_inference_steps=2, denoising_timesteps=[1000, 500]),
        seed=0,
    ),
    decoder=RippleDecoderConfig(),
)
PROFILED = derive_config(base_config=PIPELINE, name="ripple-profiled", enable_sync_and_profile=True)
WIDE = derive_config(PROFILED, name="ripple-wide", diffusion_model={"transformer": {"width": 48}})
RUNNERS = {
    pipeline.name: RippleRunnerConfig(
        runner_name=pipeline.name, description="waves that follow a camera", pipeline=pipeline
    )
    for pipeline in (PIPELINE, PROFILED, WIDE)
}
WORLDS = {
    "ripple": RippleWorldConfig(
        slug="ripple",
        title="Ripple",
        pipeline=PIPELINE,
        width=COLUMNS * PIXELS,
        height=ROWS * PIXELS,
        fps=24,
        frames_per_chunk=FRAMES,
        window_chunks=2,
        controls=("keys", "look"),
        scenes=(Scene(name="pond", title="Pond"),),
    )
}
