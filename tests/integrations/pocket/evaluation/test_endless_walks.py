"""Walks in endless worlds: the ways, the memory's figures, and pictures of the same place."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from flashdreams.camera.motion import CameraMotion
from flashdreams.camera.poses import check_poses, pose_from_yaw_pitch
from flashdreams.integrations.pocket.evaluation.endless_walks import (
    CARRIED,
    decibels,
    free_circle,
    memory_figures,
    resident_mib,
    straight,
)

START = pose_from_yaw_pitch(np.array([3.0, -1.6, 5.0]), 0.0, 0.0)


def test_a_straight_way_ends_where_it_should_and_its_steps_are_even() -> None:
    way = straight(START, 100.0, CARRIED)
    check_poses(way, "way")
    assert len(way) % 4 == 0 and way[-1, 2, 3] == pytest.approx(105.0)
    assert np.allclose(np.diff(way[:, 2, 3]), way[0, 2, 3] - 5.0)
    assert np.array_equal(way[:, :2, 3], np.repeat(START[None, :2, 3], len(way), 0))
    back = straight(way[-1], -100.0, CARRIED)
    np.testing.assert_allclose(back[-1], START, atol=1e-9)


def test_memory_that_grows_by_a_mib_in_a_hundred_metres_has_that_slope() -> None:
    chunks = np.arange(100)
    found = memory_figures(50 + chunks * CARRIED / 100, begin=49.0)
    assert found["kilometre_memory_slope_mib"] == pytest.approx(1.0)
    assert found["kilometre_memory_mib"] == pytest.approx(1 + 99 * CARRIED / 100)
    flat = np.where(chunks < 40, chunks, 40.0)  # it grows at first, and is flat in the second half
    assert memory_figures(flat, 0.0) == {"kilometre_memory_mib": 40.0, "kilometre_memory_slope_mib": pytest.approx(0)}


def test_equal_pictures_have_many_decibels_and_others_their_own() -> None:
    one = torch.full((3, 4, 4), 0.5)
    assert decibels(one, one) == 99
    assert decibels(one, one + 0.1) == pytest.approx(20, abs=0.01)


def test_the_process_has_some_memory() -> None:
    assert 10 < resident_mib() < 100_000


def circle_beside(wall: float, start: np.ndarray = START) -> np.ndarray | None:
    """The circle near `start` of visitors who cannot go where z is above `wall`, or out of 30 metres around it."""
    world = cast(Any, SimpleNamespace(config=SimpleNamespace(motion=CameraMotion(move_speed=2.4, turn_rate=60.0))))

    def free(before: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        return wanted if wanted[2] <= wall and np.abs(wanted).max() < 30 else before

    return free_circle(world, start, free)


def test_a_circle_is_found_where_nothing_stands_in_its_way() -> None:
    open_land = circle_beside(100.0)
    assert open_land is not None
    np.testing.assert_allclose(open_land[-1], START, atol=1e-6)  # in open land it begins at the entrance
    check_poses(open_land, "circle")
    # Going once around: the way is as long as the keys make it, 2.4 m/s for six seconds.
    assert np.linalg.norm(np.diff(open_land[:, :3, 3], axis=0), axis=1).sum() == pytest.approx(14.4, rel=0.02)
    beside = circle_beside(1.0)
    assert beside is not None and beside[:, 2, 3].max() <= 1.0
    assert circle_beside(-8.0) is None
