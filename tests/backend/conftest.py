"""Shared by the tests that talk to a running server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.backend.harness import Running, Visitor


@pytest.fixture
def visitor(server: Running) -> Iterator[Visitor]:
    """A visitor at rest to the `server` of the test's module."""
    with server.visit() as visitor:
        visitor.start()
        visitor.settle()
        yield visitor
