"""Fair shares of the engine's time, with a clock of the test's own."""

from __future__ import annotations

import pytest

from backend.engine.fair_share import MAX_LEAD_SECONDS, FairShare


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
