"""Curves through key poses, speed and easing."""

from __future__ import annotations

import numpy as np
import pytest

from flashdreams.camera.poses import pose_from_yaw_pitch, yaw_pitch_of
from flashdreams.camera.splines import EASINGS, at_speed, eased, faster, smooth, through_keys
from flashdreams.camera.trajectory import CameraPath

VIEWS = [([0, -1.6, 0], 0, 0), ([0, -1.6, 4], 30, 5), ([3, -1.6, 6], 90, 0), ([8, -1.6, 6], 90, -9)]
KEYS = np.stack([pose_from_yaw_pitch(place, yaw, pitch) for place, yaw, pitch in VIEWS])
TIMES = np.array([0.0, 1.0, 2.5, 4.0])


def straight(count: int = 49, fps: float = 24.0) -> CameraPath:
    return CameraPath(np.stack([pose_from_yaw_pitch([0, -1.6, 0.1 * n], 0, 0) for n in range(count)]), fps)


def test_the_curve_passes_through_its_keys_at_their_times() -> None:
    path = through_keys(KEYS, TIMES, 24)
    assert len(path) == 97
    np.testing.assert_allclose(path.poses[[0, 24, 60, 96]], KEYS, atol=1e-9)


def test_the_curve_is_the_catmull_rom_spline_of_the_textbook() -> None:
    """With even times, q(t) = 1/2 (1 t t2 t3) M (p0 p1 p2 p3)."""
    path = through_keys(KEYS, [0.0, 1.0, 2.0, 3.0], 20)
    matrix = np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]]) / 2
    for frame in range(20, 41):
        t = frame / 20 - 1
        np.testing.assert_allclose(path.poses[frame, :3, 3], [1, t, t**2, t**3] @ matrix @ KEYS[:, :3, 3], atol=1e-9)


def test_positions_have_no_kink_at_a_key_and_rotations_turn_evenly() -> None:
    path = through_keys(KEYS, TIMES, 1000)
    speed = np.diff(path.poses[:, :3, 3], axis=0) * 1000
    for key in (1000, 2500):
        np.testing.assert_allclose(speed[key - 1], speed[key], atol=0.05)
    yaw = np.array([yaw_pitch_of(pose)[0] for pose in path.poses[:1001:100]])
    pitch = np.array([yaw_pitch_of(pose)[1] for pose in path.poses[:1001:100]])
    np.testing.assert_allclose(np.diff(yaw), 3.0, atol=0.05)
    np.testing.assert_allclose(np.diff(pitch), 0.5, atol=0.15)


def test_two_keys_make_a_straight_line_and_one_a_picture() -> None:
    path = through_keys(KEYS[:2], [0, 1], 10)
    np.testing.assert_allclose(path.poses[:, 2, 3], np.linspace(0, 4, 11), atol=1e-9)
    assert len(through_keys(KEYS[:1], [3.0], 24)) == 1


@pytest.mark.parametrize(
    ("times", "sentence"),
    [
        ([0, 1, 1, 2], r"seconds\[2\] must be later"),
        ([0, 1, 2], "expected 4 finite numbers"),
        ([0, 1, 2, np.nan], "expected 4 finite numbers"),
        ([0, 1, 2, 5000], "may last 3600 s"),
        ([0, 1, 2, 1200], "expected 1 to 20000 poses"),
    ],
)
def test_bad_times_are_named(times: list[float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        through_keys(KEYS, times, 24)


def test_smoothing_takes_the_shake_out_and_keeps_length_ends_and_lens() -> None:
    calm = straight(97)
    shaken = calm.poses.copy()
    shaken[:, 0, 3] += 0.05 * (-1.0) ** np.arange(97)
    lens = np.tile([100.0, 100, 50, 40], (97, 1))
    result = smooth(CameraPath(shaken, 24, lens, (100, 80)), 0.5)
    assert len(result) == 97 and result.size == (100, 80)
    np.testing.assert_allclose(result.poses[[0, -1]], shaken[[0, -1]], atol=1e-9)
    rough = np.abs(np.diff(shaken[:, 0, 3], 2)).mean()
    assert np.abs(np.diff(result.poses[:, 0, 3], 2)).mean() < rough / 20


def test_smoothing_by_one_frame_changes_nothing() -> None:
    np.testing.assert_allclose(smooth(straight(), 1 / 24).poses, straight().poses, atol=1e-9)
    with pytest.raises(ValueError, match="one frame"):
        smooth(straight(), 0.01)


def test_an_even_speed_walks_at_that_speed_and_turns_no_faster() -> None:
    uneven = through_keys(KEYS, TIMES, 24)
    even = at_speed(uneven, 2.0, 60.0)
    step = np.linalg.norm(np.diff(even.poses[:, :3, 3], axis=0), axis=1) * 24
    yaw = np.diff([yaw_pitch_of(pose)[0] for pose in even.poses]) * 24
    assert step.max() < 2.0 * 1.01 and np.abs(yaw).max() < 60 * 1.01
    assert np.maximum(step / 2.0, np.abs(yaw) / 60.0).min() > 0.95
    np.testing.assert_allclose(even.poses[-1], uneven.poses[-1], atol=0.1)


def test_an_even_speed_leaves_out_waiting() -> None:
    waiting = CameraPath(np.concatenate([np.repeat(straight().poses[:1], 48, 0), straight().poses]), 24)
    assert len(at_speed(waiting, 2.4, 60)) == len(at_speed(straight(), 2.4, 60)) == 49
    assert len(at_speed(CameraPath(np.repeat(straight().poses[:1], 48, 0), 24), 2.4, 60)) == 1


@pytest.mark.parametrize(("factor", "count"), [(1, 49), (2, 25), (0.5, 97)])
def test_faster_walks_the_same_way_in_less_time(factor: float, count: int) -> None:
    result = faster(straight(), factor)
    assert len(result) == count
    np.testing.assert_allclose(result.poses[[0, -1]], straight().poses[[0, -1]], atol=1e-9)


@pytest.mark.parametrize("easing", EASINGS)
def test_easing_keeps_both_ends_and_the_time(easing: str) -> None:
    result = eased(straight(), easing)  # type: ignore[arg-type]
    assert len(result) == 49
    np.testing.assert_allclose(result.poses[[0, -1]], straight().poses[[0, -1]], atol=1e-9)
    step = np.diff(result.poses[:, 2, 3])
    assert (step >= 0).all()
    assert (step[0] < 0.01) == (easing in ("in", "in-out")) and (step[-1] < 0.01) == (easing in ("out", "in-out"))


def test_speeds_and_easings_that_are_none_are_named() -> None:
    with pytest.raises(ValueError, match="easing must be one of none, in, out, in-out"):
        eased(straight(), "bounce")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="factor must lie within"):
        faster(straight(), 0)
    with pytest.raises(ValueError, match="turn_rate must be a finite number above 0"):
        at_speed(straight(), 1.0, 0.0)
    with pytest.raises(ValueError, match="expected 1 to 20000 poses"):
        at_speed(straight(), 1e-4, 60.0)
