"""The runner: a camera that turns, for a number of chunks; times of the stages beside the frames."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import torch

from flashdreams.infra.pipeline import StreamInferencePipeline
from flashdreams.infra.runner import Runner, RunnerConfig
from ripple.model import FRAMES


@dataclass(kw_only=True)
class RippleRunnerConfig(RunnerConfig):
    """Config of `RippleRunner`."""

    _target: type = field(default_factory=lambda: RippleRunner)

    device: str = "cpu"
    steps: int = 3
    """Chunks to make."""


class RippleRunner(Runner[RippleRunnerConfig, StreamInferencePipeline]):
    """Writes what it made, once, whatever the number of processes."""

    def run(self) -> None:
        cache, timings = self.pipeline.initialize_cache(), []
        frames = []
        for index in range(self.config.steps):
            poses = torch.eye(4).repeat(1, FRAMES, 1, 1)
            poses[..., 0, 3] = index
            frames.append(self.pipeline.generate(index, cache, poses))
            timings.append(self.pipeline.finalize(index, cache))
        if self.is_rank_zero:
            self.config.output_dir.mkdir(parents=True, exist_ok=True)
            video = torch.cat(frames, 1)
            told = {"shape": list(video.shape), "mean": float(video.mean()), "timings": timings}
            with (self.config.output_dir / "ripple.jsonl").open("a") as file:
                file.write(json.dumps(told) + "\n")
