"""The helper thread: work is done once, by whoever comes to it first, and its result and errors reach the caller."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch

from flashdreams.integrations.pocket.tiles import helper_thread
from flashdreams.integrations.pocket.tiles.helper_thread import HelperThread

PATIENCE = 60.0


@pytest.fixture(params=[1, 2])
def helper(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> HelperThread:
    monkeypatch.setattr(helper_thread, "available_cores", lambda: request.param)
    return HelperThread()


def test_work_is_done_once_without_gradients_and_errors_reach_the_caller(helper: HelperThread) -> None:
    done: list[int] = []

    def fail() -> None:
        raise ValueError("this one")

    result = helper.begin(lambda: done.append(1) or torch.ones(2).requires_grad_())
    with torch.inference_mode():
        assert torch.equal(result(), torch.ones(2)) and result() is result() and done == [1]
        assert result().is_inference()
        failed = helper.begin(fail)
        with pytest.raises(ValueError, match="this one"):
            failed()


def test_what_the_thread_has_not_come_to_is_done_by_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helper_thread, "available_cores", lambda: 2)
    helper, gate, begun = HelperThread(), threading.Event(), threading.Event()
    threads: list[str] = []

    def noting(before: Callable[[], object] = lambda: None) -> Callable[[], None]:
        def work() -> None:
            begun.set()
            before()
            threads.append(threading.current_thread().name)

        return work

    held = helper.begin(noting(lambda: gate.wait(PATIENCE)))
    assert begun.wait(PATIENCE)
    helper.begin(noting())()
    assert threads == [threading.current_thread().name]
    gate.set()
    held()
    assert len(threads) == 2 and threads[1].startswith("helper")
