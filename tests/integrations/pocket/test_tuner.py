"""When a machine is probed, what is decided whatever else it does meanwhile, and what is remembered."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from flashdreams.integrations.pocket.probe import Speed
from flashdreams.integrations.pocket.tuner import PAUSE_SECONDS, PLAYED, ROUNDS, Tuner, memory_file

LASTS = 0.167
RISING = {1: 29.0, 2: 30.0, 4: 31.0}


class Machine:
    """A processor whose chunks take as long as it is told: `load` stretches each of them by chance."""

    def __init__(self, chunk: dict[int, float], load: Callable[[], float] = lambda: 1.0) -> None:
        self.chunk, self.load = chunk, load
        self.threads = max(chunk)
        self.steps = 1
        self.now = 0.0
        self.tried = 0

    def tuner(self, name: str = "a world") -> Tuner:
        def chunks() -> Iterator[Speed]:
            while True:
                self.tried += 1
                stretch = self.load()
                yield Speed(self.chunk[self.threads] * stretch, 0.2 * self.chunk[self.threads] * stretch)

        def take(steps: int) -> None:
            self.steps = steps

        return Tuner(
            chunks,
            take,
            threads=tuple(self.chunk),
            lasts=LASTS,
            psnr_db=RISING,
            own_steps=1,
            name=name,
            clock=lambda: self.now,
        )


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Machine]:
    """Makes a machine whose number of threads is torch's."""

    def make(chunk: dict[int, float], load: Callable[[], float] = lambda: 1.0) -> Machine:
        made = Machine(chunk, load)
        monkeypatch.setattr(torch, "set_num_threads", lambda threads: setattr(made, "threads", threads))
        monkeypatch.setattr(torch, "get_num_threads", lambda: made.threads)
        return made

    return make


def rest(tuner: Tuner) -> int:
    """Let the tuner do all that is due; returns in how many pieces."""
    pieces = 1
    while tuner.at_rest():
        pieces += 1
    return pieces


def play(tuner: Tuner, seconds: float) -> None:
    for _ in range(PLAYED):
        tuner.note(seconds)


@pytest.mark.parametrize("load", [1.5, 3.0, 8.0])
@pytest.mark.parametrize(("chunk", "threads", "steps"), [({2: 0.06, 1: 0.08}, 1, 2), ({2: 0.1, 1: 0.19}, 2, 1)])
def test_a_busy_machine_decides_as_a_quiet_one(
    chunk: dict[int, float], threads: int, steps: int, load: float, machine: Callable[..., Machine], home: Path
) -> None:
    chance = random.Random(5)
    busy = machine(chunk, lambda: 1.0 + (load - 1.0) * (chance.random() < 0.4))
    for number in range(50):
        tuner = busy.tuner(f"world {number}")
        rest(tuner)
        assert (busy.threads, busy.steps) == (threads, steps)


def test_every_chunk_of_a_probe_leaves_the_threads_as_they_were(machine: Callable[..., Machine]) -> None:
    own = machine({2: 0.06, 1: 0.08})
    tuner = own.tuner()
    seen = {own.threads}
    pieces = 1
    while tuner.at_rest():
        pieces += 1
        seen.add(own.threads)
    assert seen == {2} and own.threads == 1 and pieces == own.tried + 1 == 2 * (1 + ROUNDS) + 1
    assert rest(tuner) == 1, "nothing is due after it"


def test_the_choice_is_remembered_for_the_same_world_alone(machine: Callable[..., Machine]) -> None:
    first = machine({2: 0.06, 1: 0.08})
    rest(first.tuner())
    again = machine({2: 0.06, 1: 0.08})
    tuner = again.tuner()
    assert again.threads == 1 and again.steps == 2 and rest(tuner) == 1 and again.tried == 0
    other = machine({2: 0.06, 1: 0.08})
    other.tuner("another world")
    assert other.threads == 2
    memory_file().write_text('{"broken": ')
    forgetful = machine({2: 0.06, 1: 0.08})
    assert rest(forgetful.tuner()) > 1 and forgetful.threads == 1


def test_a_choice_made_on_a_starved_machine_is_mended_once_it_is_free(machine: Callable[..., Machine]) -> None:
    own = machine({2: 0.06, 1: 0.08}, lambda: 10.0)
    tuner = own.tuner()
    rest(tuner)
    assert own.steps == 1, "no time for two"
    own.load = lambda: 1.0
    own.now += PAUSE_SECONDS
    assert rest(tuner) == 1, "nobody has played: nothing is known"
    play(tuner, 0.08)
    assert rest(tuner) > 1
    assert (own.threads, own.steps) == (1, 2)


def test_chunks_far_slower_than_planned_are_probed_again_but_not_all_the_time(machine: Callable[..., Machine]) -> None:
    own = machine({2: 0.06, 1: 0.08})
    tuner = own.tuner()
    rest(tuner)
    own.now += PAUSE_SECONDS
    play(tuner, 0.15)
    assert rest(tuner) == 1, "somewhat slower is what a browser costs"
    own.chunk = {2: 0.2, 1: 0.4}  # the clock was halved twice
    play(tuner, 0.4)
    assert rest(tuner) > 1 and (own.threads, own.steps) == (2, 1)
    play(tuner, 0.8)
    assert rest(tuner) == 1, "too soon after the last"
    own.now += PAUSE_SECONDS
    assert rest(tuner) > 1


def test_a_home_that_cannot_be_written_is_no_fault(
    machine: Callable[..., Machine], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "file"))
    own = machine({2: 0.06, 1: 0.08})
    rest(own.tuner())
    assert own.threads == 1
