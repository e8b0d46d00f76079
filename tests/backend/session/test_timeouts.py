"""Timeouts of sessions: warnings, grace time, and estimates for those who wait."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from backend.session.timeouts import Timeouts
from backend.settings import Settings


def a_session(created_at: float = 0.0, last_input: float = 0.0, lost: float | None = None) -> Any:
    told: list[tuple[str, float]] = []
    return SimpleNamespace(
        id="one",
        created_at=created_at,
        last_input=last_input,
        detached_since=lost,
        told=told,
        warn=lambda what, seconds: told.append((what, seconds)),
    )


def test_a_session_is_warned_before_its_time_is_up() -> None:
    timeouts, session = Timeouts(Settings(session_minutes=2, idle_limit=0)), a_session()
    ends = [timeouts.check(session, now, 30.0) for now in (30.0, 61.0, 61.5, 111.0, 120.1)]
    assert ends == [None, None, None, None, "time"]
    assert session.told == [("minutes", 59.0), ("minutes", 9.0)]


def test_an_input_lifts_the_warning_of_idleness() -> None:
    timeouts, session = Timeouts(Settings(idle_limit=100)), a_session()
    assert timeouts.check(session, 50.0, 30.0) is None
    session.last_input = 50.0
    assert timeouts.check(session, 55.0, 30.0) is None
    assert timeouts.check(session, 95.0, 30.0) is None
    assert timeouts.check(session, 151.0, 30.0) == "idle"
    assert session.told == [("idle", 50.0), ("idle", 55.0)]


def test_a_lost_session_is_kept_for_its_grace_time() -> None:
    timeouts = Timeouts(Settings())
    assert timeouts.check(a_session(lost=10.0), 39.0, 30.0) is None
    assert timeouts.check(a_session(lost=10.0), 41.0, 30.0) == "idle"


def test_who_waits_is_told_how_long() -> None:
    timeouts = Timeouts(Settings(session_minutes=0))
    playing = [a_session(created_at=0.0), a_session(created_at=60.0)]
    assert timeouts.seconds_until_place(1, playing, 100.0) is None, "nobody has left yet"
    timeouts.ended(a_session(created_at=0.0), 300.0)
    assert [timeouts.seconds_until_place(n, playing, 100.0) for n in (1, 2, 3)] == [200.0, 260.0, 500.0]
    limited = Timeouts(Settings(session_minutes=2))
    assert limited.seconds_until_place(1, playing, 100.0) == 20.0
    assert limited.seconds_until_place(1, [a_session(lost=104.0)], 110.0) == 4.0
