"""LingBot-World's runner: as other camera models', with the scale of the path's world."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch

from flashdreams.camera.rays import relative_to_previous
from flashdreams.infra.config.base import derive_config
from flashdreams.infra.pipeline.base import StreamInferencePipelineConfig
from flashdreams.integrations.lingbot_world.camera import WORLD_SCALE
from flashdreams.recipes.wan.camera_pipeline import TIME_RATIO
from flashdreams.recipes.wan.camera_runner import CameraRunner, CameraRunnerConfig


@dataclass(kw_only=True)
class LingBotRunnerConfig(CameraRunnerConfig):
    """Config of `LingBotRunner`."""

    _target: type = field(default_factory=lambda: LingBotRunner)

    world_scale: float | None = None
    """Moves of the camera are divided by it; None takes the longest move of the path from one latent to the next, as
    the model was trained."""


class LingBotRunner(CameraRunner):
    """See `LingBotRunnerConfig`."""

    config: LingBotRunnerConfig

    def check(self, config: LingBotRunnerConfig) -> None:  # type: ignore[override]
        super().check(config)
        scale = config.world_scale
        if scale is not None and not (math.isfinite(scale) and scale > 0):
            raise ValueError(f"world_scale must be a finite number above 0, got {scale}")

    def pipeline_config(self) -> StreamInferencePipelineConfig:
        scale = self.config.world_scale or longest_move(self.poses) or WORLD_SCALE
        return derive_config(super().pipeline_config(), encoder={"world_scale": scale})


def longest_move(poses: torch.Tensor) -> float:
    """Return the longest way from one latent's camera to the next along a clip's `poses [N, 4, 4]`, one per frame."""
    return float(relative_to_previous(poses[::TIME_RATIO])[:, :3, 3].norm(dim=-1).max())
