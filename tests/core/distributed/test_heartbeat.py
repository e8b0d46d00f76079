"""Processes that watch one another: who is gone, who has failed, and who is simply done."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
import torch.distributed as dist

from flashdreams.core.distributed.heartbeat import GONE_STATUS, Heartbeat

LONG = 60.0
"""Seconds until a test gives up; far more than any takes."""


class Ended:
    """Takes the place of the end of a process."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.happened = threading.Event()

    def __call__(self, status: int) -> None:
        self.status = status
        self.happened.set()


Watch = Callable[[int, float], tuple[Heartbeat, Ended]]


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """Makes the watch of one of two processes, with a store like the one that a launcher keeps."""
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(store.port))
    made: list[Heartbeat] = []

    def make(rank: int, timeout: float) -> tuple[Heartbeat, Ended]:
        ended = Ended()
        made.append(Heartbeat(rank, 2, timeout, end=ended))
        return made[-1], ended

    yield make
    for peers in reversed(made):  # the first process ends last
        peers.done()
        peers._thread.join(LONG)


def test_a_process_without_a_sign_of_life_ends_the_others(watch: Watch, capsys: pytest.CaptureFixture[str]) -> None:
    _, ended = watch(0, 1.0)
    other, _ = watch(1, 1.0)
    other._stopped.set()  # as if it had been killed
    assert ended.happened.wait(LONG) and ended.status == GONE_STATUS
    sentence = "flashdreams: process 1 of 2 has given no sign of life for 1 seconds: process 0 of 2 ends too"
    assert sentence in capsys.readouterr().err


@pytest.mark.slow
def test_a_machine_that_was_asleep_ends_nobody(watch: Watch) -> None:
    (first, ended), (other, other_ended) = watch(0, 2.5), watch(1, 2.5)
    with other._lock:  # it says nothing new from now on
        time.sleep(2 * first.every)
        with first._lock:  # and now both stand still, for longer than the time after which a process counts as gone
            time.sleep(4.0)
        time.sleep(first.every)  # the first one wakes first
    assert not ended.happened.wait(1.0) and not other_ended.happened.is_set()


def test_a_failure_ends_the_others_with_its_reason(watch: Watch, capsys: pytest.CaptureFixture[str]) -> None:
    _, ended = watch(0, LONG)
    other, _ = watch(1, LONG)
    assert other.failed("no memory is left")
    assert ended.happened.wait(LONG) and ended.status == GONE_STATUS
    assert "process 1 of 2 has failed (no memory is left): process 0 of 2 ends too" in capsys.readouterr().err


def test_a_process_that_is_done_ends_nobody(watch: Watch) -> None:
    first, ended = watch(0, 2.0)
    other, _ = watch(1, 2.0)
    other.done()
    seen = threading.Event()
    for _ in range(100):
        if first.is_done(1):
            break
        seen.wait(0.1)
    assert first.is_done(1)
    assert not ended.happened.wait(2.5)


def test_who_is_done_early_stays_until_the_others_have_joined(watch: Watch) -> None:
    early, _ = watch(1, LONG)
    leaving = threading.Thread(target=early.done, daemon=True)
    leaving.start()
    leaving.join(0.5)
    assert leaving.is_alive(), "closing its connections now would make the joining of the first process fail"
    watch(0, LONG)
    leaving.join(LONG)
    assert not leaving.is_alive()


def test_the_same_sentence_is_said_once(watch: Watch) -> None:
    (first, _), (other, _) = watch(0, LONG), watch(1, LONG)
    assert first.failed("the prompt is empty")
    assert not other.failed("the prompt is empty")
    assert other.failed("another reason")


def test_news_come_from_those_who_live(watch: Watch) -> None:
    first, ended = watch(0, LONG)
    watch(1, LONG)
    first.wait_for_failure()
    assert not ended.happened.is_set()
