"""The pocket world offline: a camera path becomes an MP4, chunk by chunk through the same model as in play."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm
from tyro.conf import Suppress

from flashdreams.camera.trajectory import CameraPath, load_trajectory, log_notes
from flashdreams.core import distributed
from flashdreams.infra import assets
from flashdreams.infra.media.video import Mp4File, writable_mp4
from flashdreams.infra.pipeline.base import StreamInferencePipeline
from flashdreams.infra.runner import Runner, RunnerConfig
from flashdreams.infra.runtime.checkpoint_check import CheckedFile, problem_with
from flashdreams.infra.world.offline_rollout import as_taken, generate_along, lies_in_world
from flashdreams.integrations.pocket.assets import WEIGHTS, asset_folder
from flashdreams.integrations.pocket.deflated import load_weights
from flashdreams.integrations.pocket.world import PocketWorld, PocketWorldConfig

_BAR = "{desc:<28}{percentage:3.0f}% |{bar}| {elapsed}"
TOUR = "tour.json"
"""The camera path that is followed when none is given."""


@dataclass(kw_only=True)
class PocketRunnerConfig(RunnerConfig):
    """Config of `PocketRunner`."""

    _target: type = field(default_factory=lambda: PocketRunner)

    world: Suppress[PocketWorldConfig]
    """Size, rate, scenes and rules of motion; `pipeline`, `device` and `checkpoint` here take the place of its own."""
    trajectory: Path | None = None
    """A camera path: our JSON, nerfstudio camera_path.json, TUM text, or NumPy files. None follows the shipped tour."""
    path_fps: float | None = None
    """Poses per second of a path whose file names no rate (NumPy's); None takes 16."""
    output: Path | None = None
    """The MP4 to write; None is pocket.mp4 in the output folder."""
    scene: str | None = None
    """One of the places that can be played, for instance dusk; None is the first."""
    seed: int = 0
    """The same seed, scene and path give the same frames on the same machine; 0 or more."""
    anchor: Literal["auto", "file", "entrance"] = "auto"
    """Origin of the path: at its own coordinates (file), or moved to the scene's entrance; auto moves those paths
    that do not lie at eye height inside the scene."""
    checkpoint: Path | None = None
    """The weights, a safetensors file; None takes the ones that come along."""

    def check_checkpoints(self) -> Iterator[CheckedFile]:
        """The one file that all parts come from."""
        path = self.checkpoint or asset_folder() / WEIGHTS

        def load() -> None:
            with torch.device("cpu"):
                load_weights(self.pipeline.setup(), path)

        yield CheckedFile("checkpoint", str(path), problem_with(load))


class PocketRunner(Runner):
    """Checks what it was asked for, loads the world once, and dreams the path."""

    config: PocketRunnerConfig
    world: PocketWorld

    def __init__(self, config: PocketRunnerConfig) -> None:
        """Raises ValueError, KeyError or OSError for what cannot be run, before the model is loaded."""
        if config.seed < 0 or config.seed >= 2**63:
            raise ValueError(f"seed must be a whole number from 0 to 2**63 - 1, got {config.seed}")
        self.scene = config.world.scene(config.scene or config.world.scenes[0].name).name
        source = config.trajectory or assets.asset_folder("trajectories") / TOUR
        self.name = source.name
        trajectory = load_trajectory(source, fps=config.path_fps)
        log_notes(trajectory, source.name)
        self.trajectory = trajectory.resample(config.world.fps)
        self.output = writable_mp4(config.output or config.output_dir / "pocket.mp4")
        super().__init__(config)

    def build_pipeline(self) -> StreamInferencePipeline[Any, Any, Any]:
        """The world's own, so that the model is loaded once."""
        config = replace(
            self.config.world,
            pipeline=copy.deepcopy(self.pipeline_config()),
            device=str(self.device),
            checkpoint=self.config.checkpoint or self.config.world.checkpoint,
        )
        bar = tqdm(total=100, bar_format=_BAR, disable=not distributed.is_rank_zero())
        with bar, logging_redirect_tqdm():

            def show(stage: str, share: float) -> None:
                bar.n = round(100 * share)
                bar.set_description_str(stage)

            self.world = config.setup(progress=show)
        return self.world.pipeline

    def run(self) -> Path | None:
        """Write the video and answer where it is; None in all processes but the first."""
        world, path, scene, seed = self.config.world, self.anchored(), self.scene, self.config.seed
        poses, moved = as_taken(path, world, self.world.constrain(scene, seed))
        if not distributed.is_rank_zero():
            for _ in generate_along(self.world, scene, seed, poses):
                pass  # its share of the first process's dream
            return None
        length = f"{len(poses)} frames, {len(poses) / world.fps:.1f} s"
        print(f"{self.name}: {length} in {scene} with seed {seed}; {_described(moved, len(poses))}")
        started = time.monotonic()
        comment = f"{world.title}: {scene}, seed {seed}, along {self.name}"
        with (
            Mp4File(self.output, world.width, world.height, world.fps, comment) as video,
            tqdm(total=len(poses), desc="dreaming", unit="frame") as bar,
        ):
            for frames in generate_along(self.world, scene, seed, poses):
                video.write(frames)
                bar.update(len(frames))
        size = self.output.stat().st_size / 1e6
        print(f"{self.output}: {size:.1f} MB, dreamed in {time.monotonic() - started:.1f} s")
        return self.output

    def anchored(self) -> CameraPath:
        """The path in the scene's coordinates, see `PocketRunnerConfig.anchor`."""
        inside = lies_in_world(self.trajectory.poses, self.world.constrain(self.scene, self.config.seed))
        if inside if self.config.anchor == "auto" else self.config.anchor == "file":
            return self.trajectory
        return self.trajectory.starting_at(self.world.start_pose(self.scene, self.config.seed))


def _described(moved: int, count: int) -> str:
    if moved == 0:
        return "every pose can be taken as it is"
    return f"{moved} of {count} poses were moved to where a visitor can stand and look"
