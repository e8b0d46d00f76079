"""Post-processors: as many frames as came in, late or not, in clips and in worlds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

from flashdreams.infra.post_processor import Frames, PostProcessor, PostProcessorConfig, ProcessedStream
from flashdreams.infra.world.processed_world import processed
from tests.backend.fakes import acting_config


class Trail(PostProcessor):
    """Enlarges by repetition, and mixes every frame with the one before it in the stream."""

    def __init__(self, config: TrailConfig) -> None:
        self.config = config

    def begin(self, height: int, width: int) -> dict[str, Any]:
        return {"before": torch.zeros(height, width, 3, dtype=torch.uint8), "held": []}

    def process(self, frames: Frames, state: dict[str, Any]) -> Frames:
        made = []
        for frame in frames:
            mixed = frame // 2 + state["before"].numpy() // 2
            state["before"] = torch.from_numpy(frame.copy())
            state["held"].append(mixed)
            ready = len(state["held"]) > self.config.delay
            made.append(state["held"].pop(0) if ready else state["held"][0])
        return self._enlarged(np.stack(made))

    def flush(self, state: dict[str, Any]) -> Frames | None:
        return self._enlarged(np.stack(state["held"])) if state["held"] else None

    def _enlarged(self, frames: Frames) -> Frames:
        return frames.repeat(self.config.scale, 1).repeat(self.config.scale, 2)


@dataclass(kw_only=True)
class TrailConfig(PostProcessorConfig):
    _target: type = field(default_factory=lambda: Trail)


def expected(frames: Frames, scale: int) -> Frames:
    """All frames at once, without a stream."""
    before = np.concatenate([np.zeros_like(frames[:1]), frames[:-1]])
    return (frames // 2 + before // 2).repeat(scale, 1).repeat(scale, 2)


@pytest.mark.parametrize("delay", [0, 1, 3, 7])
def test_a_clip_has_every_frame_once_and_in_its_place(delay: int) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (13, 4, 6, 3), np.uint8)
    stream = ProcessedStream(TrailConfig(scale=2, delay=delay).setup(), 4, 6)
    parts = [stream.write(frames[begin : begin + 4]) for begin in range(0, 13, 4)]
    last = stream.close()
    assert (last is None) == (delay == 0)
    parts += [] if last is None else [last]
    assert np.array_equal(np.concatenate(parts), expected(frames, 2))


def test_a_processor_that_keeps_frames_or_changes_the_size_is_refused() -> None:
    frames = np.zeros((4, 4, 6, 3), np.uint8)

    class Loses(Trail):
        def process(self, frames: Frames, state: Any) -> Frames:
            return super().process(frames, state)[1:]

    with pytest.raises(RuntimeError, match="process must return"):
        ProcessedStream(Loses(TrailConfig()), 4, 6).write(frames)
    with pytest.raises(ValueError, match="scale"):
        TrailConfig(scale=0)
    with pytest.raises(ValueError, match=r"post_processor\.delay"):
        processed(acting_config(), TrailConfig(delay=1))
