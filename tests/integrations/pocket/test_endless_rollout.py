"""Steps of a world without end that are given up: wherever that happens, the rollout goes on as if none had begun."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from flashdreams.infra.world.base import Controls
from flashdreams.infra.world.inputs import FrameInput
from flashdreams.integrations.pocket.endless_rollout import EndlessRollout
from flashdreams.integrations.pocket.endless_world import EndlessWorld
from flashdreams.integrations.pocket.tiles.edits import Edits
from flashdreams.integrations.pocket.tiles.weights import compressed
from tests.integrations.pocket.test_endless_world import (  # noqa: F401
    SMALL_REFINEMENT,
    a_walk,
    loaded,
    play,
    same,
    small_networks,
    weights,
)


@pytest.fixture(scope="module")
def world(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> EndlessWorld:  # noqa: F811
    """A world whose things are refined: what it computes of them is changed in place."""
    torch.manual_seed(4)
    tensors = {
        f"refine.{name}": torch.randn_like(x) * 0.05 for name, x in SMALL_REFINEMENT.setup().state_dict().items()
    }
    refined = tmp_path_factory.mktemp("weights") / "refined.safetensors"
    save_file(load_file(weights) | compressed(tensors), refined, metadata={"steps": "{}"})
    return loaded(refined, 2)


def after(times: int) -> Callable[[], bool]:
    """Return a function that is true once it was called more often than `times`."""
    calls = iter(range(times))
    return lambda: next(calls, None) is None


def give_up(world: EndlessWorld, rollout: EndlessRollout, controls: Controls) -> None:
    """Begin a step, and give it up in the beginning, in the middle, and at its end."""
    asked: list[bool] = []
    copy = world.restore(world.snapshot(rollout))
    assert world.interruptible_step(copy, controls, lambda: bool(asked.append(True))) is not None
    assert len(asked) >= 8, "a press waits for a small part of a chunk alone"
    for part in (0, len(asked) // 2, len(asked) - 1):
        assert world.interruptible_step(rollout, controls, after(part)) is None


def test_a_step_that_is_given_up_leaves_no_trace(world: EndlessWorld) -> None:
    first, onward = a_walk(world, 2, seed=9)
    still = Controls(poses=np.repeat(first.poses, 4, 0))
    act = replace(still, inputs=(FrameInput(actions=frozenset(("jump", "remove"))),) * 4)
    walk = [first, still, act]
    wanted = world.start("forest", 9, text="evening")
    expected = play(world, wanted, walk)
    assert wanted.edits != Edits(9) and wanted.jump.height > 0.2
    rollout = world.start("forest", 9, text="evening")
    frames = play(world, rollout, walk[:1])
    for controls in walk[1:]:
        for other in (onward, act):  # with one come tiles, with the other goes a thing
            give_up(world, rollout, other)
        frames += play(world, rollout, [controls])
    assert same(frames, expected)
    assert rollout.edits == wanted.edits and rollout.movers.same(wanted.movers)


def test_a_step_that_nothing_interrupts_is_the_step(world: EndlessWorld) -> None:
    walk = a_walk(world, 2)
    rollout, frames = world.start("anywhere", 5), []
    for controls in walk:
        frame = world.interruptible_step(rollout, controls, lambda: False)
        assert frame is not None
        frames.append(frame)
        world.finalize(rollout)
    assert same(frames, play(world, world.start("anywhere", 5), walk))
