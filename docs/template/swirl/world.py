"""The model as a playable world and as a runner."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from flashdreams.camera.poses import pose_from_yaw_pitch
from flashdreams.infra.clip_runner import ClipRunner
from flashdreams.infra.media.images import to_frames
from flashdreams.infra.pipeline.base import StreamInferencePipelineConfig
from flashdreams.infra.runner import resolve_device
from flashdreams.infra.runtime.loading import load_pipeline
from flashdreams.infra.world.base import Controls, Progress, Rollout, WorldConfig
from flashdreams.infra.world.pipeline_world import PipelineRollout, PipelineWorld
from swirl.model import FRAMES


@dataclass(kw_only=True)
class SwirlWorldConfig(WorldConfig):
    """Config of `SwirlWorld`."""

    _target: type = field(default_factory=lambda: SwirlWorld)

    pipeline: StreamInferencePipelineConfig


class SwirlWorld(PipelineWorld):
    """One loaded model for all visitors; every dream's state is in its rollout."""

    def __init__(self, config: SwirlWorldConfig, progress: Progress | None = None) -> None:
        self.config = config
        self.pipeline = load_pipeline(config.pipeline, resolve_device("auto"))

    def start(self, scene: str, seed: int, *, text: str | None = None, image: Path | None = None) -> PipelineRollout:
        if text is not None or image is not None:
            raise ValueError(f"swirl takes neither text nor image: it takes {', '.join(self.config.controls)}")
        return PipelineRollout(
            scene=self.config.scene(scene).name, seed=seed, cache=self.pipeline.initialize_cache(seed=seed)
        )

    def frames_in_chunk(self, index: int) -> int:
        return FRAMES

    @torch.inference_mode()
    def step(self, rollout: Rollout, controls: Controls) -> np.ndarray:
        own = self.typed_rollout(rollout)
        poses = torch.from_numpy(controls.poses[None]).float().to(self.pipeline.device)
        return to_frames(self.pipeline.generate(own.index, own.cache, poses)[0])

    def start_pose(self, scene: str, seed: int) -> np.ndarray:
        return np.eye(4)


class SwirlRunner(ClipRunner):
    """A clip that turns by a degree per frame; a config class of its own could make that an option."""

    def begin(self) -> Any:
        return self.pipeline.initialize_cache()

    def generate(self, index: int, cache: Any) -> torch.Tensor:
        turns = range(index * FRAMES, (index + 1) * FRAMES)
        poses = np.stack([pose_from_yaw_pitch(np.zeros(3), turn, 0.0) for turn in turns])
        return self.pipeline.generate(index, cache, torch.from_numpy(poses[None]).float().to(self.device))
