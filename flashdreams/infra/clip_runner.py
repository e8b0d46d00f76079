"""A runner that dreams a clip: chunk after chunk through a streaming pipeline, into an MP4."""

from __future__ import annotations

import time
from abc import abstractmethod
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from flashdreams.core import distributed
from flashdreams.infra.config.base import derive_config
from flashdreams.infra.media.images import to_frames
from flashdreams.infra.media.video import Mp4File, writable_mp4
from flashdreams.infra.post_processor import Frames, PostProcessorConfig, ProcessedStream
from flashdreams.infra.runner import Runner, RunnerConfig

_MAX_SEED = 2**63


@dataclass(kw_only=True)
class ClipRunnerConfig(RunnerConfig):
    """Config of a `ClipRunner`."""

    _target: type = field(default_factory=lambda: ClipRunner)

    chunks: int = 7
    """Autoregressive steps: how many chunks the clip has."""
    height: int = 480
    """Picture height in pixels."""
    width: int = 832
    """Picture width in pixels."""
    fps: int = 16
    """Frames per second of the video; the model was trained at the default."""
    seed: int | None = None
    """The same seed and inputs give the same frames on the same machine; None takes the pipeline's."""
    output: Path | None = None
    """The MP4 to write, with its config beside it; None is the runner's name in the output folder."""
    post_processor: PostProcessorConfig | None = None
    """Processor of the frames before they are written, such as an upscaler; none is part of this project."""

    def picture_size(self) -> tuple[int, int]:
        return self.height, self.width


class ClipRunner(Runner[Any, Any]):
    """Checks what it was asked for, loads the model, and writes the clip. A subclass says how a rollout begins."""

    config: ClipRunnerConfig

    def __init__(self, config: ClipRunnerConfig) -> None:
        """Raise ValueError or OSError for what cannot be run, before the model is loaded."""
        self.check(config)
        self.output = writable_mp4(config.output or config.output_dir / f"{config.runner_name}.mp4")
        config = replace(config, output_dir=self.output.parent)
        if config.seed is not None:
            config = derive_config(config, pipeline={"diffusion_model": {"seed": config.seed}})
        super().__init__(config)

    @abstractmethod
    def begin(self) -> Any:
        """Return the cache of the clip's rollout."""

    def generate(self, index: int, cache: Any) -> Tensor:
        """Return chunk `index` of the clip, `[1, T, 3, H, W]` in [-1, 1]; override it where a chunk has controls."""
        frames: Tensor = self.pipeline.generate(index, cache)
        return frames

    def check(self, config: Any) -> None:
        """Raise ValueError, KeyError or OSError for what cannot be run; override it to check more."""
        for name in ("chunks", "fps"):
            if getattr(config, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(config, name)}")
        for name in ("height", "width"):
            if getattr(config, name) < 2 or getattr(config, name) % 2:
                raise ValueError(f"{name} must be an even number of pixels, got {getattr(config, name)}")
        if config.seed is not None and not 0 <= config.seed < _MAX_SEED:
            raise ValueError(f"seed must be a whole number from 0 to 2**63 - 1, got {config.seed}")
        if config.pipeline.decoder is None:
            raise ValueError("pipeline.decoder must be there: without one there are no pictures to write")

    @torch.no_grad()
    def run(self) -> Path | None:
        """Write the video and answer where it is; None in all processes but the first."""
        self.prepare_output_dir()
        started, frames = time.monotonic(), 0
        stream = self._stream()
        cache = self.begin()
        with ExitStack() as stack:
            video = self._video(stack)
            bar = stack.enter_context(
                tqdm(total=self.config.chunks, desc="dreaming", unit="chunk", disable=video is None)
            )
            for index in range(self.config.chunks):
                chunk = to_frames(self.generate(index, cache)[0])
                if video is not None:
                    frames += _write(video, chunk if stream is None else stream.write(chunk))
                if index + 1 < self.config.chunks:  # Nothing attends to the last chunk.
                    self.pipeline.finalize(index, cache)
                bar.update()
            if video is not None and stream is not None and (last := stream.close()) is not None:
                frames += _write(video, last)
        if video is None:
            return None
        seconds = time.monotonic() - started
        print(f"{self.output}: {frames} frames, {frames / self.config.fps:.1f} s, dreamed in {seconds:.1f} s")
        return self.output

    def _video(self, stack: ExitStack) -> Mp4File | None:
        """Return the file to write; None in all processes but the first."""
        if not distributed.is_rank_zero():
            return None
        c = self.config
        scale = 1 if c.post_processor is None else c.post_processor.scale
        size = (c.width * scale, c.height * scale)
        return stack.enter_context(Mp4File(self.output, *size, c.fps, f"{c.runner_name}: {c.description}"))

    def _stream(self) -> ProcessedStream | None:
        """Return the post-processed frames; None without a post-processor, and in all processes but the first."""
        c = self.config
        if c.post_processor is None or not distributed.is_rank_zero():
            return None
        return ProcessedStream(c.post_processor.setup(), c.height, c.width)


def _write(video: Mp4File, frames: Frames) -> int:
    """Write frames, of which there may be none; return their number."""
    if len(frames):
        video.write(frames)
    return len(frames)
