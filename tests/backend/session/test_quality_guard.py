"""The quality guard: which frames it reports, and when."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pytest

from backend.session.quality_guard import MAX_FAILURES, QualityFailures, QualityGuard


def picture(colour: tuple[int, int, int], contrast: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    noise = rng.integers(-contrast, contrast + 1, (4, 144, 256, 3))
    return np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)


def noticed(guard: QualityGuard, scene: str, frames: np.ndarray, chunks: int, every: float = 4 / 24) -> list[bool]:
    """Return the guard's answers to so many chunks, one every so many seconds."""
    clock = itertools.count(guard._seen if math.isfinite(guard._seen) else 0.0, every)
    next(clock)
    return [guard.note(scene, frames, next(clock)) for _ in range(chunks)]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (picture((0, 0, 0), 0), "flat"),
        (picture((90, 120, 90), 2), "flat"),
        (picture((255, 255, 255), 60), "black or white|colour"),
        (picture((200, 20, 230), 40), "colour is"),
    ],
)
def test_a_picture_that_has_left_its_world_is_noticed_after_two_seconds(bad: np.ndarray, reason: str) -> None:
    guard, good = QualityGuard(24), picture((90, 120, 90), 60)
    assert not any(noticed(guard, "meadow", good, 100))
    assert noticed(guard, "meadow", bad, 12) == [False] * 11 + [True] and re.search(reason, guard.reason)
    assert noticed(guard, "meadow", good, 1) == [False]


def test_a_slow_machine_does_not_show_a_bad_picture_for_longer() -> None:
    assert noticed(QualityGuard(24), "meadow", picture((90, 120, 90), 1), 4, every=0.7) == [False, False, False, True]


def test_a_short_look_at_a_wall_and_another_scene_are_no_drift() -> None:
    guard, good, wall = QualityGuard(24), picture((90, 120, 90), 60), picture((90, 120, 90), 1)
    for _ in range(5):
        assert not any(noticed(guard, "meadow", wall, 10))
        assert not any(noticed(guard, "meadow", good, 1))
    assert not any(noticed(guard, "night", picture((220, 20, 220), 40), 40))


def test_a_rest_in_front_of_a_wall_is_no_drift() -> None:
    assert not any(noticed(QualityGuard(24), "meadow", picture((90, 120, 90), 1), 2, every=60.0))


def test_rollouts_that_go_bad_again_and_again_are_unrecoverable() -> None:
    clock = [0.0]
    quality_failures = QualityFailures(lambda: clock[0])
    for pause in (60.0, 60.0, 60.0, 40.0):
        clock[0] += pause
        quality_failures.note()
        assert not quality_failures.unrecoverable
    clock[0] += 10.0
    quality_failures.note()
    assert quality_failures.unrecoverable and MAX_FAILURES == 3
