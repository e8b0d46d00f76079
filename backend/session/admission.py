"""The admission queue: places for sessions, given to visitors in the order in which they come."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from backend.wire import server_messages

ESTIMATE_SECONDS = 5.0
"""Seconds between two estimates that a waiting visitor gets."""

Notify = Callable[[server_messages.ServerMessage], None]


class AdmissionQueue:
    """Places of a server and the visitors who wait for one. Lives on the event loop, whose clock it waits by."""

    def __init__(self, capacity: int, playing: Callable[[], int], estimate: Callable[[int], float | None]) -> None:
        """Begin empty.

        Args:
            capacity: number of places.
            playing: returns the number of sessions that are alive.
            estimate: returns the seconds that the visitor at a position, from 1, may have to wait; None if unknown.
        """
        self.capacity = capacity
        self.starting = 0
        """Places of sessions that are about to begin."""
        self._playing, self._estimate = playing, estimate
        self._waiting: list[asyncio.Event] = []

    @property
    def taken(self) -> int:
        """Places taken."""
        return self._playing() + self.starting

    @property
    def waiting(self) -> int:
        """Visitors in the queue."""
        return len(self._waiting)

    def reserve(self) -> bool:
        """Take a free place without waiting; return False if there is none."""
        if self.taken >= self.capacity:
            return False
        self.starting += 1
        return True

    async def acquire(self, notify: Notify) -> None:
        """Wait for a place and take it; `notify` gets the position meanwhile. May be cancelled at any point.

        `release` must follow once the session has begun or failed.
        """
        if not self._waiting and self.reserve():
            return
        moved = asyncio.Event()
        self._waiting.append(moved)
        try:
            while self._waiting[0] is not moved or not self.reserve():
                position = self._waiting.index(moved) + 1
                notify(server_messages.QueueMessage(position=position, seconds=self._estimate(position)))
                moved.clear()
                with contextlib.suppress(TimeoutError):
                    # `wait_for` of Python 3.11 loses a cancellation that comes together with the event.
                    async with asyncio.timeout(ESTIMATE_SECONDS):
                        await moved.wait()
        finally:
            self._waiting.remove(moved)
            self.advance()

    def release(self) -> None:
        """Give up a place that was taken for a session: it is counted as alive now, or has failed."""
        self.starting -= 1
        self.advance()

    def advance(self) -> None:
        """Let the visitors who wait look whether a place is free."""
        for moved in self._waiting:
            moved.set()
