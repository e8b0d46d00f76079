"""Fair shares of the model, limits of sessions, and the slow network: arithmetic with a clock of the test's own."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pytest

from backend.engine.fair_share import MAX_LEAD_SECONDS, FairShare
from backend.media.bitrate import SAMPLES, BitrateController
from backend.session.pacing import Allowance
from backend.session.timeouts import Timeouts
from backend.settings import Settings

CHUNK = 4 / 24


def served(asks: dict[str, float], rounds: int, cost: float = 0.1) -> dict[str, float]:
    """Time that each owner gets of a model that is never idle, where owners ask again after so many seconds.

    The deadline is the time of asking plus a third of a second, but for `eager`, who always wants it at once.
    """
    fair_share, now = FairShare(), 0.0
    next_ask, got = dict.fromkeys(asks, 0.0), dict.fromkeys(asks, 0.0)
    for _ in range(rounds):
        while not (waiting := {owner for owner, at in next_ask.items() if at <= now}):
            now = min(next_ask.values())
        for owner in waiting:
            fair_share.arrive(owner, next_ask[owner])
        deadline = {owner: next_ask[owner] + (0 if owner == "eager" else 1 / 3) for owner in waiting}
        owner = min(waiting, key=lambda one: (fair_share.is_ahead(one, waiting), deadline[one], one))
        fair_share.charge(owner, now, now + cost)
        now += cost
        got[owner] += cost
        next_ask[owner] = now + asks[owner]
    return got


def test_four_who_move_get_a_quarter_each() -> None:
    got = served({"a": 0.02, "b": 0.03, "c": 0.01, "d": 0.05}, 400)
    assert max(got.values()) - min(got.values()) <= MAX_LEAD_SECONDS + 0.2


def test_who_is_always_in_a_hurry_gets_no_more_than_a_share() -> None:
    got = served({"eager": 0.001, "b": 0.03, "c": 0.03, "d": 0.03}, 400)
    assert got["eager"] == pytest.approx(10.0, abs=MAX_LEAD_SECONDS + 0.2)
    assert min(got.values()) >= 10.0 - MAX_LEAD_SECONDS - 0.2, "none starves"


def test_time_that_was_not_used_is_not_owed() -> None:
    fair_share = FairShare()
    for turn in range(100):
        fair_share.arrive("busy", turn * 0.1)
        fair_share.charge("busy", turn * 0.1, turn * 0.1 + 0.1)
    fair_share.arrive("rested", 10.0)
    assert not fair_share.is_ahead("busy", {"busy", "rested"})
    fair_share.charge("busy", 10.0, 10.0 + MAX_LEAD_SECONDS + 0.01)
    assert fair_share.is_ahead("busy", {"busy", "rested"})
    fair_share.forget("busy")
    assert not fair_share.is_ahead("busy", {"busy", "rested"})


def test_an_allowance_lets_one_chunk_go_ahead_and_then_keeps_the_rate() -> None:
    allowance = Allowance(12.0)
    begun, now = [], 100.0
    for _ in range(5):
        now = max(now, allowance.not_before)
        begun.append(now)
        allowance.spent(4, now)
    assert [b - a for a, b in itertools.pairwise(begun)] == pytest.approx([0, *[4 / 12] * 3])
    unlimited = Allowance(0.0)
    unlimited.spent(4, now)
    assert unlimited.not_before == 0


class Line:
    """A connection of some bandwidth and distance on which two chunks may be on their way."""

    def __init__(self, bytes_per_second: float, seconds: float) -> None:
        self.bitrate = BitrateController(CHUNK, 4)
        self.rate, self.distance = bytes_per_second, seconds
        self.now, self.index = 0.0, 0
        self.changes: list[tuple[str, int]] = []

    def play(self, chunks: int, size: int = 12_000) -> None:
        """Chunks of so many bytes at the best quality; each level halves them."""
        for _ in range(chunks):
            bytes_now = size / 2**self.bitrate.level
            self.bitrate.sent(self.index, int(bytes_now), self.now)
            took = 2 * bytes_now / self.rate + self.distance
            self.now += max(CHUNK, took / 2)
            if change := self.bitrate.shown(self.index, self.now - max(CHUNK, took / 2) + took):
                self.changes.append((change.reason, change.level))
            self.index += 1


def test_a_quick_network_is_left_alone() -> None:
    line = Line(1e7, 0.02)
    line.play(200)
    assert line.changes == [] and line.bitrate.level == 0
    assert line.bitrate.kbps(line.now) == pytest.approx(12_000 * 8 / 1e3 / CHUNK, rel=0.1)


def test_a_narrow_network_gets_a_coarser_picture_until_it_flows() -> None:
    line = Line(35_000, 0.02)
    line.play(40)
    assert line.changes == [("slow_network", 1)] and line.bitrate.level == 1
    line.rate = 1e6
    line.play(80)
    assert line.changes[1:] == [("recovered", 0)]


def test_distance_is_not_taken_for_a_narrow_network() -> None:
    line = Line(1e7, 0.9)
    line.play(SAMPLES * 6)
    assert line.changes == [("slow_network", 1), ("recovered", 0)], "tried once, and not again for a while"


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
    assert limited.seconds_until_place(1, [a_session(lost=100.0)], 110.0) == 10.0
