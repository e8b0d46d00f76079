"""Wan models that are steered by a camera, as something to play: keys, looks and paths move the camera."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from flashdreams.camera.intrinsics import Intrinsics
from flashdreams.infra.world.base import Controls, Rollout
from flashdreams.infra.world.pipeline_world import PipelineRollout
from flashdreams.recipes.wan.camera_pipeline import CameraPipeline, CameraPipelineConfig
from flashdreams.recipes.wan.world import WanWorld, WanWorldConfig


@dataclass(kw_only=True)
class CameraWorldConfig(WanWorldConfig):
    """Config of `CameraWorld`."""

    _target: type = field(default_factory=lambda: CameraWorld)

    pipeline: CameraPipelineConfig
    """The model."""
    lens: Intrinsics
    """The camera's, in pixels of a picture of `lens_size`."""
    lens_size: tuple[int, int]
    """Width and height."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.lens_degrees = math.degrees(2 * math.atan2(self.lens_size[0] / 2, self.lens.fx))


class CameraWorld(WanWorld):
    """See `CameraWorldConfig`."""

    config: CameraWorldConfig
    pipeline: CameraPipeline

    def step(self, rollout: Rollout, controls: Controls) -> npt.NDArray[np.uint8]:
        """Return the next chunk, seen from `controls.poses`; ValueError for poses of another number or not finite."""
        poses, wanted = np.asarray(controls.poses), (self.frames_in_chunk(rollout.index), 4, 4)
        if poses.shape != wanted:
            raise ValueError(f"poses must have shape {wanted} for this chunk, got {poses.shape}")
        if not np.isfinite(poses).all():
            raise ValueError("poses must be finite numbers")
        return super().step(rollout, controls)

    def generate(self, rollout: PipelineRollout, controls: Controls) -> Tensor:
        width, height = self.config.lens_size
        lens = self.config.lens.scaled(self.config.width / width, self.config.height / height)
        poses: Any = torch.from_numpy(np.asarray(controls.poses, dtype=np.float64))
        return self.pipeline.generate(rollout.index, rollout.cache, poses, lens)
