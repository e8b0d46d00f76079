"""Visits through a cluster's front door, and waiting for it, for the tests on Ray."""

from __future__ import annotations

import time
from collections.abc import Callable

from websockets.sync.client import connect

from tests.backend.harness import Visitor

PATIENCE = 120.0
"""Seconds until a cluster must have got somewhere: it starts processes."""


def visit_at(port: int) -> Visitor:
    """Return a new visitor at the front door on `port`."""
    socket = connect(f"ws://127.0.0.1:{port}/ws/play", max_size=2**24, proxy=None, open_timeout=30)
    return Visitor(socket.__enter__())


def until(reached: Callable[[], bool]) -> None:
    """Wait until `reached`."""
    deadline = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < deadline, "the cluster did not get there"
        time.sleep(0.3)
