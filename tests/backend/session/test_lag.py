"""The lag of a server, from the times of its chunks."""

from __future__ import annotations

import pytest

from backend.session.lag import RECENT_SECONDS, LagMeter
from tests.backend.fakes import fake_config
from tests.backend.harness import running


def test_lag_is_time_taken_over_time_played_of_recent_chunks() -> None:
    now = 0.0
    meter = LagMeter(lambda: now)
    assert meter.value == 0.0
    meter.note(0.3, 0.1)
    meter.note(0.1, 0.3)
    assert meter.value == pytest.approx(1.0)
    now = RECENT_SECONDS / 2
    meter.note(0.6, 0.2)
    now = RECENT_SECONDS + 0.1
    assert meter.value == pytest.approx(3.0), "the old ones count no more"
    now = 2 * RECENT_SECONDS
    assert meter.value == 0.0


def test_a_slow_world_lags_and_a_quick_one_does_not() -> None:
    slow = fake_config(fps=48, step_seconds=0.125)  # chunks of 4 frames play for 0.083 s
    lags = []
    for config in (fake_config(fps=48), slow):
        with running(config) as server, server.visit() as visitor:
            assert server.get("/healthz").json()["lag"] == 0.0
            visitor.start()
            visitor.hold("w", 3)
            lags.append(server.get("/healthz").json()["lag"])
    assert lags[0] < 1 < lags[1] < 4
