"""The world: what the app plays."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from flashdreams.infra.media.images import to_frames
from flashdreams.infra.pipeline import StreamInferencePipelineConfig
from flashdreams.infra.world.base import Controls, Progress, Rollout, WorldConfig
from flashdreams.infra.world.pipeline_world import PipelineRollout, PipelineWorld
from ripple.model import FRAMES


@dataclass(kw_only=True)
class RippleWorldConfig(WorldConfig):
    """Config of `RippleWorld`."""

    _target: type = field(default_factory=lambda: RippleWorld)

    pipeline: StreamInferencePipelineConfig


class RippleWorld(PipelineWorld):
    """One loaded model for all visitors."""

    def __init__(self, config: RippleWorldConfig, progress: Progress | None = None) -> None:
        self.config = config
        self.pipeline = config.pipeline.setup()

    def start(self, scene: str, seed: int, *, text: str | None = None, image: Path | None = None) -> PipelineRollout:
        cache = self.pipeline.initialize_cache(seed=seed)
        return PipelineRollout(scene=self.config.scene(scene).name, seed=seed, cache=cache)

    def frames_in_chunk(self, index: int) -> int:
        return FRAMES

    @torch.inference_mode()
    def step(self, rollout: Rollout, controls: Controls) -> np.ndarray:
        own = self.typed_rollout(rollout)
        return to_frames(
            self.pipeline.generate(own.index, own.cache, torch.from_numpy(controls.poses[None]).float())[0]
        )

    def start_pose(self, scene: str, seed: int) -> np.ndarray:
        return np.eye(4)
