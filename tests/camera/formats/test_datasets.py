"""Cameras of reconstructed photo sets."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from flashdreams.camera.poses import pose_from_yaw_pitch
from flashdreams.camera.trajectory import (
    CameraPath,
    load_trajectory,
)

COUNT = 12
POSES = np.stack([pose_from_yaw_pitch([0.05 * n, -1.6, 0.1 * n - 6], 4.0 * n, -0.5 * n) for n in range(COUNT)])
OPENGL = np.diag([1.0, -1, -1, 1])
Z_UP = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
"""From our world (y down, z forward) to one whose up is +z: its y is our z, its z is our -y."""
THEIRS = Z_UP @ POSES @ OPENGL


def load(document: Any, **options: Any) -> CameraPath:
    return load_trajectory(json.dumps(document).encode(), "x", **options)


def test_a_data_sets_transforms_are_read_in_the_order_of_their_photos() -> None:
    frames = [{"file_path": f"images/im{n}.png", "transform_matrix": THEIRS[n].tolist()} for n in range(COUNT)]
    document = {"fl_x": 310.0, "cx": 438, "cy": 292, "w": 876, "h": 584.0, "frames": frames[::-1]}
    path = load(document, fps=12)
    assert path.fps == 12 and path.size == (876, 584) and path.notes == ()
    np.testing.assert_allclose(path.poses, POSES, atol=1e-6)
    np.testing.assert_allclose(path.intrinsics, np.tile([310, 310, 438, 292], (COUNT, 1)))  # type: ignore[arg-type]
    assert load(document).notes, "the rate is assumed"
    assert load({"camera_angle_x": 0.69, "frames": frames}).intrinsics is None


def test_gaussian_splatting_cameras_are_read() -> None:
    cameras = [
        {"img_name": f"{n}", "position": POSES[n, :3, 3].tolist(), "rotation": POSES[n, :3, :3].tolist()}
        | {"width": 640, "height": 360, "fx": 500.0, "fy": 501.0}
        for n in range(COUNT)
    ]
    path = load(cameras)
    np.testing.assert_allclose(path.poses, POSES, atol=1e-6)
    np.testing.assert_allclose(path.intrinsics[0], [500, 501, 320, 180])  # type: ignore[index]
