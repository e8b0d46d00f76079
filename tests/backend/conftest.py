"""Shared by the tests that talk to a running server."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from backend.server.log_limits import OncePerMinute
from tests.backend.harness import Running, Visitor


@pytest.fixture
def visitor(server: Running) -> Iterator[Visitor]:
    """A visitor at rest to the `server` of the test's module."""
    with server.visit() as visitor:
        visitor.start()
        visitor.settle()
        yield visitor


@pytest.fixture(autouse=True)
def unlimited_log() -> Iterator[None]:
    """Take off the limit that the command puts on the log's handlers: pytest's own live through all tests."""
    yield
    for handler in logging.getLogger().handlers:
        for limit in [one for one in handler.filters if isinstance(one, OncePerMinute)]:
            handler.removeFilter(limit)
