"""TUM's text: quaternions, even and uneven times, and mistakes by line and field."""

from __future__ import annotations

import math

import numpy as np
import pytest

from flashdreams.camera import quaternions
from flashdreams.camera.poses import pose_from_yaw_pitch, yaw_pitch_of
from flashdreams.camera.trajectory import load_trajectory

WALK = np.stack([pose_from_yaw_pitch([0, -1.6, 0.1 * n], 2.0 * n, -n) for n in range(9)])


def tum(poses: np.ndarray, times: np.ndarray) -> str:
    turns = quaternions.from_matrices(poses[:, :3, :3])
    rows = (
        f"{t:.6f} " + " ".join(f"{v:.9f}" for v in (*p, *q))
        for t, p, q in zip(times, poses[:, :3, 3], turns, strict=True)
    )
    return "# timestamp tx ty tz qx qy qz qw\n\n" + "\n".join(rows) + "\n"


def test_tum_quaternion_has_its_real_part_last() -> None:
    half = math.radians(45)
    text = f"0 1 2 3 0 {math.sin(half)} 0 {math.cos(half)}\n0.5 1 2 3 0 0 0 1  # level\n"
    trajectory = load_trajectory(text.encode())
    assert trajectory.fps == 2
    np.testing.assert_allclose(trajectory.poses[0], pose_from_yaw_pitch([1, 2, 3], 90, 0), atol=1e-12)
    np.testing.assert_allclose(trajectory.poses[1], pose_from_yaw_pitch([1, 2, 3], 0, 0), atol=1e-12)


def test_tum_with_even_times_keeps_its_poses() -> None:
    trajectory = load_trajectory(tum(WALK, 1305031102.1753 + np.arange(9) / 30).encode())
    assert trajectory.fps == 30
    np.testing.assert_allclose(trajectory.poses, WALK, atol=1e-8)


def test_tum_with_uneven_times_is_made_even() -> None:
    times = np.array([0.0, 0.1, 0.2, 0.6, 0.7, 0.8])
    poses = np.stack([pose_from_yaw_pitch([0, 0, 3 * t], 50 * t, 0) for t in times])
    trajectory = load_trajectory(tum(poses, times).encode())
    even = np.linspace(0, 0.8, 9)  # at the usual step, 0.1 s, through the hole too
    assert trajectory.duration == pytest.approx(0.8)
    np.testing.assert_allclose(trajectory.poses[:, 2, 3], 3 * even, atol=1e-6)
    np.testing.assert_allclose([yaw_pitch_of(pose)[0] for pose in trajectory.poses], 50 * even, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("hello world", r"line 1: expected 8 numbers \(timestamp tx ty tz qx qy qz qw\), got 2 words"),
        ("# c\n0 0 0 0 0 0 0 1\n1 0 0 0 0 0 1", "line 3: expected 8 numbers .* got 7 words"),
        ("0 0 0 0 0 0 0 1\n1 0 x 0 0 0 0 1", "line 2: ty must be a number, got 'x'"),
        ("0 0 0 0 0 0 0 1\n1 0 0 nan 0 0 0 1", "line 2: tz must be finite, got 'nan'"),
        ("0 0 0 0 0 0 0 1\n1 0 0 1e7 0 0 0 1", "line 2: tz must lie within 1,000,000 units"),
        ("0 0 0 0 0 0 0 1\n1 0 0 0 0 0 0 0", "line 2: qx qy qz qw must be a unit quaternion, got one of length 0"),
        ("0 0 0 0 0 0 0 1\n\n0 0 0 0 0 0 0 1", "line 3: timestamp must be later than on the line before"),
        ("0 0 0 0 0 0 0 1", "expected at least two poses: a single one has no rate"),
        ("0 0 0 0 0 0 0 1\n1e13 0 0 0 0 0 0 1", r"2 timestamps within 1e\+13 s: fps must be a number"),
        ("# only a comment", "the file: expected 1 to 20000 poses, got 0"),
    ],
)
def test_bad_tum_file_names_line_and_field(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match="^walk.txt: " + sentence):
        load_trajectory(text.encode(), "walk.txt")
