"""An event loop for tests, whose time moves only when all of its tasks wait: then it jumps to the next timer."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _JumpingSelector(selectors.DefaultSelector):  # type: ignore[misc,valid-type]
    """Advances `now` by a timeout instead of waiting for it."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready; without a timeout, wait for it."""
        events = super().select(timeout if timeout is None else 0)
        if timeout and not events:
            self.now += timeout
        return events


class FakeTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose timers take no time. Not for tasks that wait for threads beside timers."""

    def __init__(self) -> None:
        self.jumping = _JumpingSelector()
        super().__init__(self.jumping)

    def time(self) -> float:
        """Return the loop's seconds."""
        return self.jumping.now


def run(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of `work`, run on a loop of this kind."""
    with asyncio.Runner(loop_factory=FakeTimeLoop) as runner:
        return runner.run(work)
