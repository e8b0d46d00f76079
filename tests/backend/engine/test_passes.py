"""Steps of several sessions in one pass: which share one, that each has its own result, and the choice by measuring."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.engine.engine import TOGETHER_SECONDS, Engine
from backend.engine.history import Beginning, History
from backend.engine.passes import AGAIN_SECONDS, TRIALS, PassTimes, Row, Stepping, step_alone, step_in_one_pass
from backend.engine.rollout import SessionRollout
from backend.session.replay import Replay, save
from flashdreams.infra.world.base import Controls, NotFinite, Rollout
from tests.backend.fakes import FakeWorld, fake_config
from tests.backend.harness import PATIENCE


class Rows(FakeWorld):
    """The fake world, whose passes of several rollouts are counted; one with seed 13 breaks them."""

    @property
    def rows_together(self) -> int:
        return 3

    def step_together(self, rows: Sequence[tuple[Rollout, Controls]]) -> Iterator[tuple[int, Any]]:
        self.calls.append(("together", len(rows)))
        if any(rollout.seed == 13 for rollout, _ in rows):
            raise RuntimeError("no memory for a batch")
        yield from super().step_together(rows)


def controls(frames: int = 1) -> Controls:
    return Controls(poses=np.repeat(np.eye(4)[None], frames, 0))


def begin_of(world: FakeWorld, seed: int, chunks: int = 0) -> Any:
    """Work that steps a rollout after so many chunks, and returns its frames and the rows of its pass."""
    rollout = world.start("meadow", seed)
    for index in range(chunks):
        world.step(rollout, controls(world.frames_in_chunk(index)))
        world.finalize(rollout)

    def begin() -> Stepping[tuple[np.ndarray, int]]:
        stepped = yield Row(rollout, controls(world.frames_in_chunk(chunks)))
        assert stepped is not None
        return stepped

    return begin


def test_every_row_has_the_result_that_it_has_alone() -> None:
    world = Rows(fake_config())
    works = [(begin_of(world, seed, chunks), Future()) for seed, chunks in ((1, 0), (2, 4), (3, 1))]
    assert step_in_one_pass(works, world)
    for (_, future), (seed, chunks) in zip(works, ((1, 0), (2, 4), (3, 1)), strict=True):
        frames, rows = future.result(0)
        alone, one = step_alone(begin_of(world, seed, chunks), world)
        assert rows == 3 and one == 1 and np.array_equal(frames, alone)


def test_a_row_that_fails_fails_alone_and_a_pass_that_fails_fails_all() -> None:
    world = Rows(fake_config())
    lost, fine, cancelled = Future(), Future(), Future()
    assert cancelled.cancel()
    seeds = ((world.config.lost_seed, 3, lost), (5, 3, fine), (6, 0, cancelled))
    assert step_in_one_pass([(begin_of(world, seed, chunks), future) for seed, chunks, future in seeds], world)
    assert isinstance(lost.exception(0), NotFinite) and fine.result(0)[1] == 2
    assert ("together", 2) in world.calls, "what was cancelled is no row"

    broken = [(begin_of(world, seed), Future()) for seed in (13, 14)]
    assert not step_in_one_pass(broken, world)
    assert all("no memory" in str(future.exception(0)) for _, future in broken)


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine(fake_config(_target=Rows, fps=1), together="on")
    engine.start()
    yield engine
    engine.stop()


def rows_of(engine: Engine, *deadlines: float, seeds: Sequence[int] = (), alone: Sequence[int] = ()) -> list[int]:
    """Rows of the passes in which steps with these deadlines are made, that all wait at the same time."""
    world: Any = engine.world.result(PATIENCE)
    gate = threading.Event()
    held = engine.submit(lambda _world: gate.wait(PATIENCE), deadline=-9.0)
    futures = []
    for number, deadline in enumerate(deadlines):
        begin = begin_of(world, seeds[number] if seeds else number)
        futures.append(engine.submit_step(begin, deadline=deadline, owner=number, alone=number in alone))
    gate.set()
    held.result(PATIENCE)
    return [-1 if future.exception(PATIENCE) else future.result()[1] for future in futures]


class Undoing(Rows):
    """The fake world, whose steps can be interrupted before they change anything; each asks as often as `asks`."""

    asks = 3

    def interruptible_step(
        self, rollout: Rollout, controls: Controls, interrupted: Callable[[], bool]
    ) -> np.ndarray | None:
        self.calls.append(("interruptible", self.asks))
        if any(interrupted() for _ in range(self.asks)):
            return None
        return self.step(rollout, controls)


def resting(world: FakeWorld, **options: Any) -> SessionRollout:
    """A rollout whose first chunk has been generated, with nothing that moves."""
    history = History(span=9, max_bytes=0, max_chunks=9)
    dream = SessionRollout(world, Beginning("meadow", 1), history, every=4, image=Path, **options)
    dream.step()
    return dream


@pytest.mark.parametrize("at", range(4))
def test_a_chunk_that_gives_way_begins_again_with_the_press_and_leaves_no_trace(at: int) -> None:
    world = Undoing(fake_config())
    dream, never = resting(world), resting(world)
    asked: list[int] = []

    def press(seq: int) -> bool:
        asked.append(seq)
        if len(asked) <= at:
            return False
        dream.input_state.keys(["d"])
        dream.input_state.note_seq(7)
        return True

    chunk = step_alone(lambda: dream.stepping(press), world)
    never.input_state.keys(["d"])
    never.input_state.note_seq(7)
    wanted = never.step()
    assert asked == [0] * min(at + 1, world.asks), "the chunk with the press is not interrupted again"
    if at == world.asks:
        assert chunk.snapshot.still and chunk.snapshot.seq == 0, "it was done before the press"
        return
    assert chunk.index == wanted.index == 1 and chunk.snapshot.seq == 7 and not chunk.snapshot.still
    assert np.array_equal(chunk.frames, wanted.frames)
    assert np.array_equal(dream.step().frames, never.step().frames)
    assert [node.index for node in dream.history.nodes()] == [0, 1, 2]
    dream.input_state.keys([])
    for _ in dream.rewind(1):
        pass
    never.input_state.keys([])
    for _ in never.rewind(1):
        pass
    assert np.array_equal(dream.step().frames, never.step().frames)


def test_what_moves_and_what_is_replayed_or_shares_a_pass_is_never_interrupted() -> None:
    world = Undoing(fake_config())

    def refuse(seq: int) -> bool:
        raise AssertionError("nobody is to ask")

    moving = resting(world)
    moving.input_state.keys(["w"])
    assert step_alone(lambda: moving.stepping(refuse), world).index == 1
    script = iter([(controls(1), None), (controls(4), None)])
    assert step_alone(lambda: resting(world, script=script).stepping(refuse), world).scripted
    together = [resting(world) for _ in range(2)]
    works: list[tuple[Any, Future[Any]]] = [(partial(each.stepping, refuse), Future()) for each in together]
    assert step_in_one_pass(works, world)
    assert [future.result(0).node.rows for _, future in works] == [2, 2]
    assert ("interruptible", 3) not in world.calls


def test_a_world_that_cannot_undo_a_step_makes_it_to_its_end() -> None:
    dream = resting(world := FakeWorld(fake_config()))
    chunk = step_alone(lambda: dream.stepping(lambda seq: True), world)
    assert chunk.index == 1 and chunk.snapshot.still


def test_steps_that_are_due_together_share_a_pass(engine: Engine) -> None:
    assert rows_of(engine, 1.0) == [1]
    assert rows_of(engine, 1.0, 1.1) == [2, 2]
    assert rows_of(engine, 1.0, 1.1, 1.2, 1.05) == [3, 3, 1, 3], "the world takes three, the most urgent ones"


def test_the_answer_to_a_key_and_a_replay_wait_for_nobody(engine: Engine) -> None:
    far = 1.1 + TOGETHER_SECONDS
    assert rows_of(engine, 1.0, far, far) == [1, 2, 2]
    assert rows_of(engine, 1.0, 1.1, 1.05, alone=[2]) == [2, 2, 1]


def test_after_a_pass_that_failed_steps_go_one_by_one(engine: Engine) -> None:
    assert rows_of(engine, 1.0, 1.1, seeds=(13, 14)) == [-1, -1]
    assert rows_of(engine, 1.0, 1.1) == [1, 1]


def test_one_by_one_unless_it_is_asked_for() -> None:
    engine = Engine(fake_config(_target=Rows))
    engine.start()
    assert rows_of(engine, 1.0, 1.1) == [1, 1]
    engine.stop()


def test_a_session_tells_the_rows_of_its_chunks() -> None:
    world = Rows(fake_config())
    history = [History(span=9, max_bytes=0, max_chunks=9) for _ in range(2)]
    dreams = [SessionRollout(world, Beginning("meadow", 1), each, every=4, image=Path) for each in history]
    works: list[tuple[Any, Future[Any]]] = [(dream.stepping, Future()) for dream in dreams]
    assert step_in_one_pass(works, world)
    assert [future.result(0).node.rows for _, future in works] == [2, 2]
    assert dreams[0].step().node.rows == 1
    for node in (lineage := history[0].lineage()):
        node.digest = bytes(16)
    saved = save(world.config, "model", Beginning("meadow", 1), lineage)
    assert [chunk.rows for chunk in saved.chunks] == [2, None]
    assert Replay("name", saved, same_model=True).message("playing").together == 1


def played(times: PassTimes, seconds: dict[int, float], passes: int, waiting: int = 4) -> list[int]:
    """Rows of so many passes, of which one with that many rows takes `seconds`."""
    chosen = []
    for _ in range(passes):
        rows = times.rows(waiting, 8)
        times.note(rows, seconds[rows])
        chosen.append(rows)
    return chosen


@pytest.mark.parametrize(("together", "then"), [(0.30, 4), (0.39, 1), (0.50, 1)])
def test_one_pass_is_taken_where_it_is_faster(together: float, then: int) -> None:
    times = PassTimes("auto", clock=lambda: 0.0)
    trials = played(times, {1: 0.1, 4: together}, 2 * (TRIALS + 1))
    assert sorted(set(trials)) == [1, 4] and trials.count(4) == TRIALS + 1
    assert set(played(times, {1: 0.1, 4: together}, 5)) == {then}
    assert times.rows(1, 8) == 1
    if then == 1:
        assert times.rows(2, 8) == 1, "fewer gain less"


def test_the_first_pass_of_a_kind_does_not_count() -> None:
    times = PassTimes("auto", clock=lambda: 0.0)
    slow = iter([9.0])
    for _ in range(2 * (TRIALS + 1)):
        rows = times.rows(2, 8)
        times.note(rows, next(slow, 0.15) if rows == 2 else 0.1)
    assert times.rows(2, 8) == 2


def test_a_pass_takes_no_longer_than_a_chunk_plays_unless_it_is_of_two() -> None:
    for mode, lasts, rows in (("auto", 0.25, 3), ("on", 0.25, 3), ("auto", 0.01, 2), ("on", 0.01, 2)):
        times = PassTimes(mode, clock=lambda: 0.0, lasts=lasts)  # type: ignore[arg-type]
        seconds = {1: 0.1, **{each: 0.08 * each for each in range(2, 9)}}
        played(times, seconds, 60, waiting=6)
        assert times.rows(6, 8) == rows


def test_it_is_measured_again_later_and_never_where_it_is_off() -> None:
    now = [0.0]
    times = PassTimes("auto", clock=lambda: now[0])
    played(times, {1: 0.1, 4: 0.5}, 20)
    assert times.rows(4, 8) == 1
    now[0] = AGAIN_SECONDS + 1
    assert 4 in played(times, {1: 0.1, 4: 0.2}, 4)
    times.fail()
    assert set(played(times, {1: 0.1, 4: 0.2}, 9)) == {1}
    assert PassTimes("on").rows(5, 2) == 2
