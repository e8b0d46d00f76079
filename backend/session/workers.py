"""Threads of their own for CPU-heavy requests: few, with a short queue, so that sessions never wait for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from backend.clock import monotonic

WORKERS = 1
"""Heavy requests that are worked on at a time."""
QUEUE = 8
"""Heavy requests that may wait for a worker."""
REST = 3.0
"""Rest of a worker before its next request, as a multiple of the time that the last one took: sessions need cores."""
LONGEST_REST = 2.0
"""Seconds of such a rest at most."""
RETRY_SECONDS = 2
"""Seconds after which a refused client may try again."""
MAX_BODY_BYTES = 48 * 1024 * 1024
"""Bytes of all uploads that are being received, together."""

T = TypeVar("T")


class Busy(Exception):
    """Too many heavy requests wait already."""


class Workers:
    """A pool of `WORKERS` threads that refuses work beyond its queue, and the memory of uploads on their way."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="request")
        self._taken = 0
        self._rests_until = 0.0
        self._body_bytes = 0

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """Return the result of `work`, run by a worker. Raises Busy if too much waits, and what `work` raises."""
        if self._taken >= WORKERS + QUEUE:
            raise Busy
        self._taken += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, self._paced, work, *arguments)
        future.add_done_callback(self._done)  # the thread works on where the client went away
        return await future

    def _paced(self, work: Callable[..., T], *arguments: Any) -> T:
        time.sleep(max(0.0, self._rests_until - monotonic()))
        began = monotonic()
        try:
            return work(*arguments)
        finally:
            now = monotonic()
            self._rests_until = now + min(REST * (now - began), LONGEST_REST)

    def _done(self, future: asyncio.Future[Any]) -> None:
        self._taken -= 1

    def take_bytes(self, count: int) -> None:
        """Count bytes of an upload. Raises Busy where all uploads together have too many."""
        if self._body_bytes + count > MAX_BODY_BYTES:
            raise Busy
        self._body_bytes += count

    def release_bytes(self, count: int) -> None:
        """Forget bytes of an upload that is through or broken off."""
        self._body_bytes -= count

    def close(self) -> None:
        """Let the threads end."""
        self._pool.shutdown(wait=False, cancel_futures=True)
