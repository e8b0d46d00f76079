"""Shots: key poses with a pace become a path, and a path becomes the key poses that draw it again."""

from __future__ import annotations

import numpy as np
import pytest

from flashdreams.camera.camera_path import CameraPath
from flashdreams.camera.keyframes import Pace, keys_of, shot_through
from flashdreams.camera.poses import pose_from_yaw_pitch, yaw_pitch_of
from flashdreams.camera.splines import at_speed, through_keys

VIEWS = [([0, -1.6, 0], 0, 0), ([0, -1.6, 4], 30, 5), ([3, -1.6, 6], 90, 0), ([8, -1.6, 6], 90, -9)]
KEYS = np.stack([pose_from_yaw_pitch(place, yaw, pitch) for place, yaw, pitch in VIEWS])


def steps(path: CameraPath) -> np.ndarray:
    """Units from each frame to the next."""
    return np.linalg.norm(np.diff(path.poses[:, :3, 3], axis=0), axis=1)


def test_a_shot_is_at_every_key_at_the_time_it_tells() -> None:
    for pace in (
        Pace(),
        Pace(seconds=5),
        Pace(times=[0, 1, 3, 4]),
        Pace(easing="in-out"),
        Pace(seconds=7, easing="out"),
    ):
        path, at = shot_through(KEYS, pace, 240)
        assert at[0] == 0 and at[-1] == pytest.approx(path.duration)
        np.testing.assert_allclose(path.poses[np.round(at * 240).astype(int)][:, :3, 3], KEYS[:, :3, 3], atol=0.03)
        np.testing.assert_allclose(path.poses[[0, -1]], KEYS[[0, -1]], atol=1e-9)


def test_speed_is_even_where_no_turn_slows_it() -> None:
    path, _ = shot_through(KEYS, Pace(move_speed=2.0, turn_rate=300), 24)
    np.testing.assert_allclose(steps(path), 2 / 24, rtol=0.02)
    slow, _ = shot_through(KEYS, Pace(move_speed=2.0, turn_rate=10), 24)
    yaws = np.array([yaw_pitch_of(pose)[0] for pose in slow.poses])
    assert np.abs(np.diff(yaws)).max() * 24 < 10.2 and slow.duration > 8.9


def test_the_shape_is_the_curve_through_the_keys_at_an_even_speed() -> None:
    speed, turn = 2.0, 1000.0
    gaps = np.linalg.norm(np.diff(KEYS[:, :3, 3], axis=0), axis=1) / speed
    wanted = at_speed(through_keys(KEYS, np.concatenate([[0], np.cumsum(gaps)]), 96), speed, turn)
    path, _ = shot_through(KEYS, Pace(move_speed=speed, turn_rate=turn), 24)
    apart = np.linalg.norm(path.poses[:, None, :3, 3] - wanted.poses[None, :, :3, 3], axis=2).min(axis=1)
    assert apart.max() < 0.02


def test_a_length_is_kept_and_easing_sets_off_gently() -> None:
    path, _ = shot_through(KEYS, Pace(seconds=6.0, easing="in-out"), 24)
    assert len(path) == 145
    assert steps(path)[0] < 0.1 * steps(path).max() and steps(path)[-1] < 0.1 * steps(path).max()
    assert len(shot_through(KEYS, Pace(seconds=6.01), 24)[0]) == 146


def test_own_times_are_kept() -> None:
    path, at = shot_through(KEYS, Pace(times=[0, 2, 2.5, 4]), 24)
    np.testing.assert_allclose(at, [0, 2, 2.5, 4])
    np.testing.assert_allclose(path.poses[[0, 48, 60, 96]], KEYS, atol=1e-9)


def test_a_closed_shot_comes_back_without_a_kink() -> None:
    square = np.stack([pose_from_yaw_pitch(place, 0, 0) for place in ([0, 0, 0], [4, 0, 0], [4, 0, 4], [0, 0, 4])])
    path, at = shot_through(square, Pace(seconds=16), 24, closed=True)
    np.testing.assert_allclose(path.poses[0], path.poses[-1], atol=1e-9)
    np.testing.assert_allclose(at, [0, 4, 8, 12], atol=0.02)
    way = np.diff(path.poses[:, :3, 3], axis=0)
    np.testing.assert_allclose(way[0], way[-1], atol=0.01)
    turned = shot_through(square[[1, 2, 3, 0]], Pace(seconds=16), 24, closed=True)[0]
    np.testing.assert_allclose(turned.poses[: 3 * 96, :3, 3], path.poses[96:-1, :3, 3], atol=0.01)


def test_few_and_equal_keys_make_a_picture() -> None:
    for keys in (KEYS[:1], KEYS[[0, 0, 0]]):
        path, at = shot_through(keys, Pace(), 24, closed=True)
        assert len(path) == 1 and len(at) == len(keys)


@pytest.mark.parametrize(
    ("pace", "sentence"),
    [
        (Pace(move_speed=0), "move_speed must be a finite number above 0"),
        (Pace(turn_rate=-1), "turn_rate must be"),
        (Pace(seconds=0), "seconds must lie above 0"),
        (Pace(seconds=3000), "expected 1 to 20000 poses"),
        (Pace(times=[0, 1, 1, 2]), r"times\[2\] must be later"),
        (Pace(times=[0, 1]), "expected 4 finite numbers"),
        (Pace(move_speed=1e-4), "it may last 3600 s"),
        (Pace(easing="bounce"), "easing must be one of"),  # type: ignore[arg-type]
    ],
)
def test_what_makes_no_shot_is_told(pace: Pace, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        shot_through(KEYS, pace, 24)


def test_a_walk_becomes_few_keys_that_draw_it_again() -> None:
    walk, _ = shot_through(KEYS, Pace(seconds=9), 24)
    times, off, turned = keys_of(walk, 0.05, 1.0)
    assert 4 <= len(times) <= 20 and off <= 0.05 and turned <= 1.0
    again = through_keys(walk.sampled(times * 24, 24).poses, times, 24)
    assert np.linalg.norm(again.poses[:, :3, 3] - walk.poses[:, :3, 3], axis=1).max() == pytest.approx(off)
    assert len(keys_of(walk, 0.005, 0.1, most=200)[0]) > len(times)
    assert len(keys_of(walk, 0.001, 0.01, most=5)[0]) == 5
    assert len(keys_of(walk.sampled([3.0], 24), 0.1, 1.0)[0]) == 1


def test_a_walk_that_rests_keeps_its_rests() -> None:
    there = np.repeat(KEYS[:1], 25, 0)
    there[8:16, 2, 3] += np.linspace(0, 1, 8)
    there[16:, 2, 3] += 1
    times, off, _ = keys_of(CameraPath(there, 8), 0.02, 1.0)
    assert off <= 0.02 and len(times) <= 12


@pytest.mark.parametrize(("distance", "degrees", "most"), [(0, 1, 9), (1, 0, 9), (1, 1, 1), (1, 1, 201)])
def test_tolerances_of_keys_are_checked(distance: float, degrees: float, most: int) -> None:
    with pytest.raises(ValueError, match="must"):
        keys_of(CameraPath(KEYS, 24), distance, degrees, most)
