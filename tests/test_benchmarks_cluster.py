"""The benchmark of a cluster: its comparison of a session with one alone can fail."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("ray", reason="the extra `cluster` is not installed")

from benchmarks.cluster_moves import compare_alone
from tests.backend.fakes import fake_config
from tests.backend.harness import running


def test_a_session_equals_one_alone_and_a_chunk_of_another_past_does_not() -> None:
    with running() as server, server.visit() as visitor:
        ready = visitor.start(seed=5)
        visitor.hold("w", 4)
        file = server.get(f"/api/sessions/{ready['token']}/save.json").content
    alone = compare_alone(fake_config(), file)
    assert alone.chunks >= 4 and alone.differing == []
    saved = json.loads(file)
    saved["seed"] += 1
    other = compare_alone(fake_config(), json.dumps(saved).encode())
    assert other.differing == list(range(other.chunks)), "another past shows in each of them"
