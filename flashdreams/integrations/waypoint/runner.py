"""Waypoint's runner: a start picture and an action track become a clip."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from flashdreams.infra.clip_runner import ClipRunner, ClipRunnerConfig
from flashdreams.infra.media.images import read_picture
from flashdreams.integrations.waypoint.controls import read_action_track
from flashdreams.integrations.waypoint.pipeline import WaypointPipeline, WaypointPipelineConfig


@dataclass(kw_only=True)
class WaypointRunnerConfig(ClipRunnerConfig):
    """Config of `WaypointRunner`."""

    _target: type = field(default_factory=lambda: WaypointRunner)

    pipeline: WaypointPipelineConfig
    """The model."""
    chunks: int = 31
    """The start picture's frame, then an action of four frames each."""
    image: Path | None = None
    """The picture that the clip begins with: a JPEG, PNG or WebP file of any size."""
    actions: Path | None = None
    """Keys and mouse of the clip, a JSON list such as [{"keys": ["w"], "mouse": [4, 0], "repeat": 30}]; None holds
    nothing, and so do the actions after its end."""


class WaypointRunner(ClipRunner):
    """See `WaypointRunnerConfig`."""

    config: WaypointRunnerConfig
    pipeline: WaypointPipeline

    def check(self, config: Any) -> None:
        super().check(config)
        if (config.height, config.width) != (config.pipeline.height, config.pipeline.width):
            size = f"{config.pipeline.height} and {config.pipeline.width}"
            raise ValueError(f"height and width must be {size}, got {config.height} and {config.width}")
        if config.image is None:
            raise ValueError(f"image is needed: {config.runner_name} begins with a picture")
        self.image = read_picture(config.image, config.height, config.width)[None]
        self.controls = () if config.actions is None else read_action_track(config.actions).controls
        if len(self.controls) >= config.chunks:
            raise ValueError(
                f"actions has {len(self.controls)} actions, {config.chunks} chunks take {config.chunks - 1} after the "
                f"start picture: give --chunks {len(self.controls) + 1}, or a shorter track"
            )

    def begin(self) -> Any:
        return self.pipeline.initialize_cache(self.image)

    def generate(self, index: int, cache: Any) -> Tensor:
        control = self.controls[index - 1] if 0 < index <= len(self.controls) else None
        return self.pipeline.generate(index, cache, None if control is None else control[None])
