"""The runner of Wan models that are steered by a camera: a picture and a camera path become a clip."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from flashdreams.camera.intrinsics import Intrinsics
from flashdreams.camera.trajectory import CameraPath, load_trajectory, log_notes
from flashdreams.infra.temporal import causal_pixel_frames
from flashdreams.recipes.wan.camera_pipeline import TIME_RATIO, CameraPipeline, CameraPipelineConfig
from flashdreams.recipes.wan.runner import WanRunner, WanRunnerConfig

SAME_SHAPE = 0.1
"""Allowed difference between the aspect of a lens's picture and the clip's, as a share of it."""


@dataclass(kw_only=True)
class CameraRunnerConfig(WanRunnerConfig):
    """Config of `CameraRunner`."""

    _target: type = field(default_factory=lambda: CameraRunner)

    pipeline: CameraPipelineConfig
    """The model."""
    trajectory: Path | None = None
    """The camera's path, at least as long as the clip: our JSON, nerfstudio camera_path.json, TUM text, or NumPy files
    (poses.npy, intrinsics.npy)."""
    intrinsics: tuple[float, float, float, float] | None = None
    """The lens: fx, fy, cx, cy in pixels of the clip; None takes that of the trajectory's file."""


class CameraRunner(WanRunner):
    """See `CameraRunnerConfig`. Rates are made one: the path is followed at its own speed."""

    config: CameraRunnerConfig
    pipeline: CameraPipeline

    def check(self, config: CameraRunnerConfig) -> None:  # type: ignore[override]
        super().check(config)
        if config.trajectory is None:
            raise ValueError(f"trajectory is needed: {config.runner_name} follows a camera path, such as path.json")
        name = config.trajectory.name
        trajectory = load_trajectory(config.trajectory, fps=config.fps)
        log_notes(trajectory, name)
        path = trajectory.resample(config.fps)
        needed = self._frames_before(config, config.chunks)
        if len(path) < needed:
            raise ValueError(
                f"trajectory {name} is too short: at {config.fps} frames a second it has {len(path)} poses, and "
                f"{config.chunks} chunks need {needed}; {_chunks_of(config, len(path))}"
            )
        self.poses = torch.from_numpy(path.poses[:needed])
        self.lenses = lenses(config, path, name)[:needed]

    def controls(self, index: int) -> tuple[Any, ...]:
        """Return the poses and lenses of the chunk's frames."""
        here = slice(self._frames_before(self.config, index), self._frames_before(self.config, index + 1))
        return self.poses[here], self.lenses[here]

    @staticmethod
    def _frames_before(config: CameraRunnerConfig, chunk: int) -> int:
        return causal_pixel_frames(0, chunk * config.pipeline.rollout.len_t, TIME_RATIO) if chunk else 0


def lenses(config: CameraRunnerConfig, path: CameraPath, name: str) -> Tensor:
    """fx, fy, cx, cy in pixels of the clip for every pose of `path`, fp64 `[N, 4]`.

    Raises ValueError where nobody says them, or for those of a picture of another shape.
    """
    if config.intrinsics is not None:
        return Intrinsics(*config.intrinsics).as_tensor(torch.float64).expand(len(path), 4)
    if path.intrinsics is None or path.size is None:
        raise ValueError(
            f"intrinsics are missing: {name} has none, so give --intrinsics FX FY CX CY in pixels of the "
            f"{config.width} x {config.height} clip"
        )
    width, height = path.size
    across, down = config.width / width, config.height / height
    if abs(across / down - 1) > SAME_SHAPE:
        raise ValueError(
            f"intrinsics of {name} are of a picture of {width} x {height}, which has another shape than the "
            f"{config.width} x {config.height} clip: give --intrinsics FX FY CX CY in pixels of the clip"
        )
    return torch.from_numpy(path.intrinsics) * torch.tensor([across, down, across, down], dtype=torch.float64)


def _chunks_of(config: CameraRunnerConfig, poses: int) -> str:
    chunks = (poses + TIME_RATIO - 1) // (TIME_RATIO * config.pipeline.rollout.len_t)
    return f"give --chunks {chunks} or a longer path" if chunks else "give a longer path"
