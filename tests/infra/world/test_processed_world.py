"""A world whose frames go through a post-processor."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from flashdreams.infra.post_processor import Frames, PostProcessor, PostProcessorConfig
from flashdreams.infra.world.base import Controls
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


def chunks(world: Any, rollout: Any, count: int) -> list[Frames]:
    made = []
    for _ in range(count):
        poses = np.repeat(np.eye(4)[None], world.frames_in_chunk(rollout.index), 0)
        made.append(world.step(rollout, Controls(poses=poses)))
        world.finalize(rollout)
    return made


def test_a_world_shows_processed_frames_and_sessions_do_not_mix() -> None:
    config = processed(acting_config(width=32, height=16), TrailConfig(scale=2))
    assert (config.width, config.height, config.slug, config.actions) == (64, 32, "fake", acting_config().actions)
    world, plain = config.setup(), config.inner.setup()
    frames = np.concatenate(chunks(plain, plain.start("meadow", 3), 4))
    first, second = world.start("meadow", 3), world.start("night", 4)
    mixed = [made for _ in range(4) for made in (chunks(world, first, 1), chunks(world, second, 1))]
    assert np.array_equal(np.concatenate([made[0] for made in mixed[::2]]), expected(frames, 2))
    assert first.index == 4 and first.kv_fill == plain_fill(plain)


def plain_fill(world: Any) -> float:
    rollout = world.start("meadow", 3)
    chunks(world, rollout, 4)
    return float(rollout.kv_fill)


def test_a_restored_rollout_goes_on_bit_for_bit() -> None:
    world = processed(acting_config(width=32, height=16), TrailConfig(scale=2)).setup()
    rollout = world.start("meadow", 3)
    chunks(world, rollout, 2)
    kept = world.snapshot(rollout)
    ahead = chunks(world, rollout, 2)
    for _ in range(2):
        again = chunks(world, world.restore(kept), 2)
        assert all(np.array_equal(a, b) for a, b in zip(ahead, again, strict=True))


def test_a_restored_rollout_takes_over_what_the_inner_world_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    world = processed(acting_config(width=32, height=16), TrailConfig(scale=2)).setup()
    rollout = world.start("meadow", 3)
    chunks(world, rollout, 2)
    kept = world.snapshot(rollout)
    ahead = chunks(world, rollout, 2)
    replaced: list[Any] = []
    inner = world._inner
    monkeypatch.setattr(inner, "restore_into", lambda old, content: replaced.append(old) or inner.restore(content))
    restored = world.restore_into(rollout, kept)
    assert replaced == [rollout.inner]
    assert all(np.array_equal(a, b) for a, b in zip(ahead, chunks(world, restored, 2), strict=True))


def test_a_session_is_played_through_a_processor(tmp_path: Path) -> None:
    from tests.backend.harness import running

    config = processed(acting_config(width=64, height=48), TrailConfig(scale=2))
    with running(config) as server, server.visit() as visitor:
        ready = visitor.start(seed=1)
        assert (ready["width"], ready["height"]) == (128, 96)
        visitor.wait("chunk")
        assert visitor.answer_to(visitor.send("keys", down=["w"]))["frames"] == 4
