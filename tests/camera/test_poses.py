"""Poses: directions, round trips against an independent rotation formula, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flashdreams.camera.poses import (
    check_pose,
    check_poses,
    pose_from_yaw_pitch,
    relative_pose,
    yaw_pitch_of,
    yaw_pitch_roll_of,
)

ANGLE = st.floats(-179.0, 179.0)
PLACE = st.tuples(*[st.floats(-1e3, 1e3)] * 3)


def turned(axis: tuple[float, float, float], degrees: float) -> np.ndarray:
    """Rotation about a world axis as the matrix exponential of its generator."""
    x, y, z = np.radians(degrees) * np.asarray(axis)
    generator = torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]], dtype=torch.float64)
    return torch.linalg.matrix_exp(generator).numpy()


@pytest.mark.parametrize(
    ("yaw", "pitch", "forward"),
    [
        (0, 0, (0, 0, 1)),
        (90, 0, (1, 0, 0)),
        (-90, 0, (-1, 0, 0)),
        (180, 0, (0, 0, -1)),
        (0, 90, (0, -1, 0)),
        (0, -30, (0, 0.5, np.sqrt(0.75))),
    ],
)
def test_yaw_turns_right_and_pitch_looks_up(yaw: float, pitch: float, forward: tuple[float, ...]) -> None:
    pose = pose_from_yaw_pitch([1.0, 2.0, 3.0], yaw, pitch)
    np.testing.assert_allclose(pose[:3, 2], forward, atol=1e-12)
    np.testing.assert_array_equal(pose[:3, 3], [1.0, 2.0, 3.0])


def test_right_side_stays_level_without_roll() -> None:
    assert pose_from_yaw_pitch([0, 0, 0], 33, 44)[1, 0] == pytest.approx(0)


def test_positive_roll_lowers_the_right_side() -> None:
    assert pose_from_yaw_pitch([0, 0, 0], 0, 0, 20)[1, 0] == pytest.approx(np.sin(np.radians(20)))


@given(yaw=ANGLE, pitch=st.floats(-89.0, 89.0), roll=ANGLE)
@settings(max_examples=50, deadline=None)
def test_pose_equals_product_of_matrix_exponentials(yaw: float, pitch: float, roll: float) -> None:
    expected = turned((0, 1, 0), yaw) @ turned((1, 0, 0), pitch) @ turned((0, 0, 1), roll)
    np.testing.assert_allclose(pose_from_yaw_pitch([0, 0, 0], yaw, pitch, roll)[:3, :3], expected, atol=1e-12)


@given(place=PLACE, yaw=ANGLE, pitch=st.floats(-89.0, 89.0), roll=ANGLE)
@settings(max_examples=100, deadline=None)
def test_angles_come_back(place: tuple[float, ...], yaw: float, pitch: float, roll: float) -> None:
    pose = pose_from_yaw_pitch(place, yaw, pitch, roll)
    np.testing.assert_allclose(yaw_pitch_roll_of(pose), (yaw, pitch, roll), atol=1e-9)
    np.testing.assert_allclose(yaw_pitch_of(pose), (yaw, pitch), atol=1e-9)
    np.testing.assert_array_equal(check_poses(pose[None], "poses")[0], pose)


@pytest.mark.parametrize("pitch", [90.0, -90.0])
def test_yaw_is_known_looking_straight_up_and_down(pitch: float) -> None:
    np.testing.assert_allclose(yaw_pitch_of(pose_from_yaw_pitch([0, 0, 0], 37, pitch)), (37, pitch), atol=1e-6)


def test_relative_pose_equals_general_inverse() -> None:
    a = np.stack([pose_from_yaw_pitch([1, 2, 3], 40, 10, 5), pose_from_yaw_pitch([0, 1, 0], -170, -80)])
    b = pose_from_yaw_pitch([-4, 5, 6], 100, -20)
    np.testing.assert_allclose(relative_pose(a, b), np.linalg.inv(a) @ b, atol=1e-12)


def broken(row: int, column: int, value: float) -> np.ndarray:
    poses = np.stack([np.eye(4)] * 3)
    poses[1, row, column] = value
    return poses


@pytest.mark.parametrize(
    ("poses", "sentence"),
    [
        (broken(0, 0, np.nan), r"path\[1\]: every number must be finite"),
        (broken(2, 3, np.inf), r"path\[1\]: every number must be finite"),
        (broken(3, 0, 0.5), r"path\[1\]: the last row must be 0 0 0 1"),
        (broken(0, 3, 2e6), r"path\[1\]: the position must lie within 1,000,000 units"),
        (broken(0, 0, 1.1), r"path\[1\]: the upper left 3x3 must be a rotation"),
        (broken(0, 0, 1e300), r"path\[1\]: the upper left 3x3 must be a rotation"),
        (broken(1, 1, -1.0), r"path\[1\]: the rotation is mirrored"),
        (np.eye(4), r"path: expected one or more 4x4 matrices .* got shape \[4, 4\]"),
        (np.empty((0, 4, 4)), r"path: expected one or more 4x4 matrices"),
        ([np.eye(4).tolist(), [[1, 2], [3, 4]]], r"path\[1\]: expected a 4x4 matrix of numbers, got shape \[2, 2\]"),
        ([np.eye(4).tolist(), [["x"] * 4] * 4], r"path\[1\]: expected a 4x4 matrix of numbers"),
        ([np.eye(4).tolist(), [[10**400] * 4] * 4], r"path\[1\]: expected a 4x4 matrix of numbers"),
        ("nonsense", r"path: expected one or more 4x4 matrices"),
    ],
)
def test_bad_poses_are_refused_by_index(poses: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        check_poses(poses, "path")  # type: ignore[arg-type]


def test_slightly_rounded_rotations_pass() -> None:
    check_poses(np.round(pose_from_yaw_pitch([0, 0, 0], 12.3, 45.6), 4)[None], "path")


def test_one_bad_pose_is_named_without_an_index() -> None:
    with pytest.raises(ValueError, match=r"^start: every number must be finite$"):
        check_pose(np.full((4, 4), np.nan), "start")
    with pytest.raises(ValueError, match=r"^start: expected a 4x4 matrix of numbers, got shape \[3, 4\]$"):
        check_pose(np.eye(4)[:3], "start")


@pytest.mark.parametrize(("place", "yaw"), [([0, 0], 0.0), ([0, 0, np.nan], 0.0), ([0, 0, 0], np.inf)])
def test_pose_from_bad_numbers_is_refused(place: list[float], yaw: float) -> None:
    with pytest.raises(ValueError, match="position"):
        pose_from_yaw_pitch(place, yaw, 0)
