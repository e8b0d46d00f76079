"""Pacing: when chunks begin, what urgent ones replace, and the limit on frames."""

from __future__ import annotations

import itertools

import pytest

from backend.session.pacing import LEAD_FRAMES, LEAD_SECONDS, Allowance, Pacer


def test_a_chunk_begins_so_that_it_is_there_before_the_last_has_played_out() -> None:
    pacer = Pacer(fps=24, cost=0.08)
    pacer.generated(began=10.0, finished=10.08, frames=4, urgent=False)
    assert pacer.played_out == pytest.approx(10.08 + 4 / 24)
    assert pacer.begin_at() == pytest.approx(pacer.played_out - 0.08 - LEAD_FRAMES / 24 - LEAD_SECONDS)


def test_chunks_that_come_early_queue_up_and_eager_ones_replace_the_queue() -> None:
    pacer = Pacer(fps=20)
    pacer.generated(began=0.0, finished=1.0, frames=4, urgent=False)
    pacer.generated(began=1.0, finished=1.1, frames=4, urgent=False)
    assert pacer.played_out == pytest.approx(1.4)
    pacer.generated(began=1.1, finished=1.2, frames=4, urgent=True)
    assert pacer.played_out == pytest.approx(1.4), "the player skips to the eager chunk, 0.2 s long"


def test_the_cost_rises_at_once_and_falls_slowly() -> None:
    pacer = Pacer(fps=20, cost=0.1)
    pacer.generated(began=0.0, finished=0.3, frames=4, urgent=False)
    assert pacer.cost == pytest.approx(0.3)
    pacer.generated(began=1.0, finished=1.1, frames=4, urgent=False)
    assert pacer.cost == pytest.approx(0.27)


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
