"""A Wan world of a tiny size with the same weights in every process, for tests with several processes."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import torch

from flashdreams.infra.diffusion.model.base import DiffusionModelConfig
from flashdreams.infra.diffusion.scheduler import FlowMatchSchedulerConfig
from flashdreams.infra.memory.plan import MemoryPlan, PartMemory
from flashdreams.recipes.wan.model import text_model
from flashdreams.recipes.wan.pipeline import WanInferencePipelineConfig
from flashdreams.recipes.wan.world import WanWorld, WanWorldConfig
from tests.recipes.tiny_wan import PIXELS, config, transformer


class TinyWorld(WanWorld):
    """A world with random weights."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        drawn = torch.Generator().manual_seed(0)
        for weight in self.pipeline.parameters():
            torch.nn.init.normal_(weight, std=0.15, generator=drawn)


@dataclass(kw_only=True)
class TinyWorldConfig(WanWorldConfig):
    """Config of `TinyWorld`."""

    _target: type = field(default_factory=lambda: TinyWorld)


@dataclass(kw_only=True)
class TinyPipelineConfig(WanInferencePipelineConfig):
    """Config of a pipeline whose memory is known: to plan it takes a process two seconds, most of them for imports."""

    def memory_plan(self, height: int, width: int, *, rollouts: int = 1, processes: int | None = None) -> MemoryPlan:
        parts = (PartMemory(name="network", weights=2**20, working=2**20),)
        return MemoryPlan(size=f"{height} x {width}", parts=parts, rollout=2**20, rollouts=rollouts)


def tiny_config() -> WanWorldConfig:
    """Two layers, 24 wide, in fp32; four steps a chunk, whose 12 tokens two processes share."""
    steps = FlowMatchSchedulerConfig(num_inference_steps=4, denoising_timesteps=[1000, 750, 500, 250])
    whole = config(diffusion_model=DiffusionModelConfig(transformer=transformer(), scheduler=steps))
    model = text_model(
        title="Tiny",
        description="",
        pipeline=TinyPipelineConfig(**{one.name: getattr(whole, one.name) for one in fields(whole) if one.init}),
        parameters=0,
        world=TinyWorldConfig,
        **PIXELS,
    )
    return model.world_config()
