"""The runner of OmniDreams: a picture, a prompt and an HD-map video become a drive."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from flashdreams.infra.media.video_reader import VideoReader
from flashdreams.infra.temporal import causal_pixel_frames
from flashdreams.integrations.omnidreams.pipeline import OmnidreamsPipeline, OmnidreamsPipelineConfig
from flashdreams.recipes.wan.autoencoder.network import TIME_RATIO
from flashdreams.recipes.wan.runner import WanRunner, WanRunnerConfig


@dataclass(kw_only=True)
class OmnidreamsRunnerConfig(WanRunnerConfig):
    """Config of `OmnidreamsRunner`."""

    _target: type = field(default_factory=lambda: OmnidreamsRunner)

    pipeline: OmnidreamsPipelineConfig
    """The model."""
    control: Path | None = None
    """The HD-map video of the drive, a frame for every frame to dream: lanes and boxes as the camera sees them."""


class OmnidreamsRunner(WanRunner):
    """See `OmnidreamsRunnerConfig`."""

    config: OmnidreamsRunnerConfig
    pipeline: OmnidreamsPipeline

    def check(self, config: Any) -> None:
        super().check(config)
        if config.control is None:
            raise ValueError(f"control is needed: {config.runner_name} follows an HD-map video")
        self.control = VideoReader(config.control, config.height, config.width)
        len_t = config.pipeline.rollout.len_t
        wanted = sum(causal_pixel_frames(index, len_t, TIME_RATIO) for index in range(config.chunks))
        if self.control.length < wanted:
            raise ValueError(
                f"control has {self.control.length} frames, {config.chunks} chunks need {wanted}: give a longer video, "
                "or fewer chunks"
            )

    def generate(self, index: int, cache: Any) -> Tensor:
        if index in self.events:
            self.pipeline.replace_text(cache, self.events[index])
        return self.pipeline.generate(index, cache, self.control.next(self.pipeline.control_frames(index))[None])
