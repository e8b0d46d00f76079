"""A visitor whose session has begun."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.backend.harness import Running, Visitor


@pytest.fixture
def visitor(server: Running) -> Iterator[Visitor]:
    """Return a visitor whose first picture has come, in a session of its own at the module's `server`."""
    with server.visit() as visitor:
        visitor.start(seed=5)
        visitor.settle()
        yield visitor
