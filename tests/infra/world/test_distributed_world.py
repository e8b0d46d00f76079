"""A world that is led and followed: the same calls on both sides, and what one side alone meets is told."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np
import pytest
import torch.distributed as dist

from flashdreams.core import distributed
from flashdreams.infra.world import distributed_world
from flashdreams.infra.world.base import Controls, World
from flashdreams.infra.world.distributed_world import follow, lead
from flashdreams.infra.world.inputs import FrameInput
from tests.backend.fakes import FakeWorld, FakeWorldConfig, fake_config


class Recorder(FakeWorld):
    """Keeps what it was asked for, and what it was given."""

    instances: ClassVar[list[Recorder]] = []

    def __init__(self, config: Any, progress: Any = None) -> None:
        super().__init__(config, progress)
        self.log: list[Any] = []
        self.fails = False
        Recorder.instances.append(self)

    def start(self, scene: str, seed: int, **more: Any) -> Any:
        self.log.append(("start", scene, seed, more.get("text"), more.get("image")))
        return super().start(scene, seed, **more)

    def step(self, rollout: Any, controls: Controls) -> np.ndarray:
        if self.fails:
            raise RuntimeError("no memory is left")
        frames = super().step(rollout, controls)
        self.log.append(
            (
                "step",
                rollout.seed,
                rollout.index,
                controls.poses.tobytes(),
                controls.scene,
                controls.inputs,
                frames.sum(),
            )
        )
        return frames


@dataclass(kw_only=True)
class RecorderConfig(FakeWorldConfig):
    _target: type = field(default_factory=lambda: Recorder)


class Alone:
    """The watch of a process whose leader ends when told."""

    rank = 1

    def __init__(self) -> None:
        self.over = threading.Event()

    def is_done(self, rank: int) -> bool:
        return self.over.is_set()


@pytest.fixture
def sides(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[World, Recorder]]:
    """A leading world, and the world of a follower in a thread."""
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(store.port))
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(distributed_world, "_POLL", distributed_world.timedelta(seconds=0.2))
    alone = Alone()
    monkeypatch.setattr(distributed, "peers", lambda: alone)
    values = {
        each.name: getattr(fake_config(), each.name) for each in fields(FakeWorldConfig) if each.name != "_target"
    }
    config = RecorderConfig(**values)
    Recorder.instances.clear()
    leader: World = lead(config).setup(progress=lambda stage, share: None)
    follower = threading.Thread(target=follow, args=(config,))
    follower.start()
    leader.start("meadow", 0)  # answered once the follower is there
    yield leader, Recorder.instances[1]
    alone.over.set()
    follower.join(30)
    assert not follower.is_alive()


def poses(world: World, index: int, turn: float) -> np.ndarray:
    made = np.repeat(np.eye(4)[None], world.frames_in_chunk(index), 0)
    made[:, 0, 3] = np.linspace(0, turn, len(made)) / 3
    return made


def test_the_follower_does_what_the_leader_does(sides: tuple[World, Recorder]) -> None:
    leader, follower = sides
    first, second = leader.start("meadow", 3), leader.start("night", 4)
    for rollout, scene in ((first, None), (second, None), (first, "night")):
        frames = leader.step(rollout, Controls(poses=poses(leader, rollout.index, 0.1 + rollout.seed), scene=scene))
        assert frames.shape[1:] == (144, 256, 3)
        leader.finalize(rollout)
    kept = leader.snapshot(first)
    again = leader.restore(kept)
    held = FrameInput(keys=frozenset("wa"), mouse=(1 / 3, -0.1), scroll=0.5, actions=frozenset({"jump", "use"}))
    inputs = (held, *[FrameInput()] * (leader.frames_in_chunk(again.index) - 1))
    leader.step(again, Controls(poses=poses(leader, again.index, 9.0), inputs=inputs))
    instead = leader.restore_into(again, kept)
    leader.step(instead, Controls(poses=poses(leader, instead.index, 9.0), inputs=inputs))
    assert follower.log == Recorder.instances[0].log and follower.log[-1] == follower.log[-2]
    assert leader.fingerprint() == f"{follower.fingerprint()}x2"
    assert len(follower.log) == 3 + 5 and follower.log[-1][:3] == ("step", 3, 2)


def test_a_mistake_of_both_is_the_leaders_answer(sides: tuple[World, Recorder]) -> None:
    leader, _ = sides
    with pytest.raises(KeyError, match="unknown scene 'moon'"):
        leader.start("moon", 0)
    assert leader.start("night", 1).scene == "night"


def test_what_fails_in_one_process_alone_is_told(sides: tuple[World, Recorder]) -> None:
    leader, follower = sides
    rollout = leader.start("meadow", 3)
    follower.fails = True
    with pytest.raises(RuntimeError, match=r"step failed in process 1 alone \(RuntimeError: no memory is left\)"):
        leader.step(rollout, Controls(poses=poses(leader, 0, 0.0)))
    follower.fails = False
    other = leader.start("meadow", 5)
    leader.step(other, Controls(poses=poses(leader, 0, 0.0)))


def test_the_follower_lets_go_of_what_the_leader_lets_go_of(
    sides: tuple[World, Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    leader, _ = sides
    held: list[int] = []
    obey = distributed_world._obey
    monkeypatch.setattr(
        distributed_world, "_obey", lambda world, kept, call: (obey(world, kept, call), held.append(len(kept)))
    )
    first = leader.start("meadow", 1)
    kept = leader.snapshot(first)
    assert held[-1] >= 2
    before = held[-1]
    del first, kept
    gc.collect()
    leader.start("meadow", 2)
    assert held[-1] <= before - 1


def test_others_things_are_refused(sides: tuple[World, Recorder]) -> None:
    leader, _ = sides
    with pytest.raises(TypeError, match="rollout must be one that this world started, got FakeRollout"):
        leader.finalize(FakeWorld(fake_config()).start("meadow", 0))
    with pytest.raises(TypeError, match="snapshot must be one that this world made, got int"):
        leader.restore(3)
