"""The engine's order of work, and what happens when something fails."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from backend.engine.engine import Engine, EngineStopped, Priority
from tests.backend.fakes import fake_config
from tests.backend.harness import PATIENCE


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine(fake_config())
    engine.start()
    yield engine
    engine.stop()


def test_pictures_go_before_upkeep_and_earlier_deadlines_first(engine: Engine) -> None:
    gate, done = threading.Event(), []

    def job(name: str, deadline: float, priority: Priority = Priority.GENERATE) -> Any:
        return engine.submit(lambda _world: done.append(name), deadline=deadline, priority=priority)

    first = engine.submit(lambda _world: gate.wait(PATIENCE), deadline=0)
    jobs = [
        job("upkeep, early", 1.0, Priority.FINALIZE),
        job("picture, late", 9.0),
        job("picture, early", 2.0),
        job("upkeep, earlier", 0.5, Priority.FINALIZE),
        job("picture, early, second", 2.0),
    ]
    gate.set()
    for future in [first, *jobs]:
        future.result(PATIENCE)
    assert done == ["picture, early", "picture, early, second", "picture, late", "upkeep, earlier", "upkeep, early"]


def test_waiting_work_can_be_hurried(engine: Engine) -> None:
    gate, done = threading.Event(), []
    first = engine.submit(lambda _world: gate.wait(PATIENCE), deadline=0)
    early = engine.submit(lambda _world: done.append("early"), deadline=5.0, owner="one")
    late = engine.submit(lambda _world: done.append("late"), deadline=9.0, owner="other")
    engine.reschedule(late, 1.0)
    engine.reschedule(early, 8.0)
    gate.set()
    for future in (first, early, late):
        future.result(PATIENCE)
    assert done == ["late", "early"]
    engine.reschedule(late, 0.0)


def test_a_failing_job_fails_alone(engine: Engine) -> None:
    def fail(_world: Any) -> None:
        raise ValueError("this one")

    failing = engine.submit(fail, deadline=0)
    fine = engine.submit(lambda world: world.config.slug, deadline=1)
    with pytest.raises(ValueError, match="this one"):
        failing.result(PATIENCE)
    assert fine.result(PATIENCE) == "fake"


def test_a_cancelled_job_is_not_run(engine: Engine) -> None:
    gate, ran = threading.Event(), []
    engine.submit(lambda _world: gate.wait(PATIENCE), deadline=0)
    unwanted = engine.submit(lambda _world: ran.append("unwanted"), deadline=1)
    last = engine.submit(lambda _world: ran.append("last"), deadline=2)
    assert unwanted.cancel()
    gate.set()
    last.result(PATIENCE)
    assert ran == ["last"]


def test_jobs_may_be_submitted_while_the_world_loads() -> None:
    engine = Engine(fake_config(load_seconds=0.2, load_stages=4))
    engine.start()
    slug = engine.submit(lambda world: world.config.slug, deadline=0)
    assert not engine.loaded and slug.result(PATIENCE) == "fake"
    assert engine.loaded and engine.stage.name == "ready"
    engine.stop()


def test_a_world_that_does_not_load_says_why_and_refuses_work() -> None:
    engine = Engine(fake_config(load_error="the weights are missing"))
    early = engine.submit(lambda _world: None, deadline=0)
    engine.start()
    with pytest.raises(EngineStopped):
        early.result(PATIENCE)
    assert str(engine.failure) == "the weights are missing" and not engine.loaded
    with pytest.raises(EngineStopped):
        engine.submit(lambda _world: None, deadline=0)


def test_stopping_fails_what_waits() -> None:
    engine = Engine(fake_config())
    engine.start()
    begun, gate = threading.Event(), threading.Event()

    def hold(_world: Any) -> bool:
        begun.set()
        return gate.wait(PATIENCE)

    running = engine.submit(hold, deadline=0)
    assert begun.wait(PATIENCE)
    waiting = engine.submit(lambda _world: None, deadline=1)
    threading.Timer(0.05, gate.set).start()
    engine.stop()
    assert running.result(PATIENCE) is True
    with pytest.raises(EngineStopped):
        waiting.result(PATIENCE)


def test_a_world_at_rest_does_its_upkeep_and_work_goes_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.engine.engine.REST_SECONDS", 0.01)
    engine = Engine(fake_config())
    done: list[str] = []
    rested = threading.Event()

    def at_rest() -> bool:
        done.append("upkeep")
        if done.count("upkeep") == 1:
            engine.submit(lambda _world: done.append("work"), deadline=0)
        if done.count("upkeep") == 3:
            rested.set()
            raise RuntimeError("a fault here ends nothing")
        return True

    engine.start()
    try:
        engine.world.result(PATIENCE).at_rest = at_rest  # type: ignore[method-assign]
        assert done == [], "before the first work nothing is known to rest from"
        engine.submit(lambda _world: done.append("first"), deadline=0).result(PATIENCE)
        assert rested.wait(PATIENCE)
        engine.submit(lambda _world: done.append("last"), deadline=0).result(PATIENCE)
        assert done[:5] == ["first", "upkeep", "work", "upkeep", "upkeep"] and "last" in done
    finally:
        engine.stop()
