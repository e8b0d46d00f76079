"""Camera paths: resampling, and beginning elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flashdreams.camera.poses import pose_from_yaw_pitch, relative_pose, yaw_pitch_of
from flashdreams.camera.trajectory import CameraPath

ANGLE = st.floats(-179.0, 179.0)
POSE = st.builds(
    pose_from_yaw_pitch, st.tuples(*[st.floats(-100, 100)] * 3), ANGLE, st.floats(-85.0, 85.0), st.floats(-90.0, 90.0)
)
WALK = np.stack([pose_from_yaw_pitch([0, -1.6, 0.1 * n], 2.0 * n, -n) for n in range(9)])


def turn_about(axis: np.ndarray, radians: float) -> np.ndarray:
    x, y, z = axis * radians
    return torch.linalg.matrix_exp(torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)).numpy()


@given(start=POSE, x=st.floats(-1, 1), y=st.floats(-1, 1), angle=st.floats(0.01, 3.0), share=st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_resampled_rotation_turns_evenly_about_one_axis(
    start: np.ndarray, x: float, y: float, angle: float, share: float
) -> None:
    axis = np.array([x, y, 1.0]) / np.linalg.norm([x, y, 1.0])
    end = start.copy()
    end[:3, :3] = turn_about(axis, angle) @ start[:3, :3]
    end[:3, 3] += (1, 2, 3)
    middle = CameraPath(np.stack([start, end]), 10.0).sampled([share], 10.0).poses[0]
    np.testing.assert_allclose(middle[:3, :3], turn_about(axis, angle * share) @ start[:3, :3], atol=1e-7)
    np.testing.assert_allclose(middle[:3, 3], start[:3, 3] + share * np.array([1, 2, 3]), atol=1e-9)


@pytest.mark.parametrize(("fps", "count"), [(10, 9), (20, 17), (5, 5), (3, 3), (24, 20), (0.5, 1), (1000 / 3, 267)])
def test_resampling_keeps_duration_and_start(fps: float, count: int) -> None:
    result = CameraPath(WALK, 10).resample(fps)
    assert (len(result), result.fps) == (count, fps)
    np.testing.assert_allclose(result.poses[0], WALK[0], atol=1e-9)
    assert 0 <= 0.8 - result.duration < 1 / fps + 1e-9
    np.testing.assert_allclose(result.poses[:, 2, 3], np.arange(count) / fps, atol=1e-9)


def test_resampling_twice_as_fast_keeps_every_old_pose() -> None:
    np.testing.assert_allclose(CameraPath(WALK, 10).resample(20).poses[::2], WALK, atol=1e-9)


def test_resampling_interpolates_intrinsics() -> None:
    lens = np.array([[100.0, 100, 50, 40], [200, 200, 50, 40]])
    result = CameraPath(WALK[:2], 10, lens, (100, 80)).resample(20)
    assert result.intrinsics is not None
    np.testing.assert_allclose(result.intrinsics[1], (150, 150, 50, 40))


def test_resampling_to_too_many_poses_is_refused() -> None:
    with pytest.raises(ValueError, match="accepted are 200000"):
        CameraPath(WALK, 0.01).resample(1000)


def test_a_path_can_start_elsewhere_with_its_shape_kept() -> None:
    there = pose_from_yaw_pitch([5, -1.6, 7], 120, 25)
    moved = CameraPath(WALK, 10).starting_at(there)
    np.testing.assert_allclose(moved.poses[0, :3, 3], (5, -1.6, 7))
    assert yaw_pitch_of(moved.poses[0])[0] == pytest.approx(120)
    for before, after in zip(WALK, moved.poses, strict=True):
        assert yaw_pitch_of(after)[1] == pytest.approx(yaw_pitch_of(before)[1], abs=1e-9)
    np.testing.assert_allclose(relative_pose(moved.poses[0], moved.poses), relative_pose(WALK[0], WALK), atol=1e-9)
