"""Quaternions against Hamilton's product and the matrix exponential."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flashdreams.camera import quaternions
from flashdreams.camera.poses import pose_from_yaw_pitch

ANGLE = st.floats(-179.0, 179.0)
POSE = st.builds(
    pose_from_yaw_pitch, st.tuples(*[st.floats(-100, 100)] * 3), ANGLE, st.floats(-85.0, 85.0), st.floats(-90.0, 90.0)
)


def hamilton(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Product of two quaternions (vector part, then real part)."""
    vector = a[3] * b[:3] + b[3] * a[:3] + np.cross(a[:3], b[:3])
    return np.array([*vector, a[3] * b[3] - a[:3] @ b[:3]])


def rotated(quaternion: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """q v q*"""
    back = quaternion * (-1, -1, -1, 1)
    return hamilton(hamilton(quaternion, np.array([*vector, 0.0])), back)[:3]


def turn_about(axis: np.ndarray, radians: float) -> np.ndarray:
    x, y, z = axis * radians
    return torch.linalg.matrix_exp(torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)).numpy()


@given(POSE)
@settings(max_examples=60, deadline=None)
def test_quaternions_turn_vectors_as_their_matrices_do(pose: np.ndarray) -> None:
    quaternion = quaternions.from_matrices(pose[None, :3, :3])[0]
    for vector in np.eye(3):
        np.testing.assert_allclose(rotated(quaternion, vector), pose[:3, :3] @ vector, atol=1e-9)
    np.testing.assert_allclose(quaternions.to_matrices(quaternion[None])[0], pose[:3, :3], atol=1e-9)


@pytest.mark.parametrize("axis", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.6, 0, 0.8)])
@pytest.mark.parametrize("degrees", [0.0, 1e-7, 90.0, 179.999999, 180.0])
def test_quaternions_keep_their_digits_at_every_angle(axis: tuple[float, ...], degrees: float) -> None:
    matrix = turn_about(np.asarray(axis), math.radians(degrees))[None]
    np.testing.assert_allclose(quaternions.to_matrices(quaternions.from_matrices(matrix)), matrix, atol=1e-12)
