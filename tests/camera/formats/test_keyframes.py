"""Key frames of nerfstudio's viewer: the path through them, their times and their lens."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

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


def keyframes(**changes: Any) -> dict[str, Any]:
    keys = [{"matrix": THEIRS[n].ravel().tolist(), "fov": 60 + n} for n in (0, 4, 8)]
    document = {"keyframes": keys, "camera_path": [], "fps": 30, "seconds": 0, "default_transition_sec": 2}
    return {**document, "camera_type": "perspective", "render_width": 1920, "render_height": 1080, **changes}


def load(document: Any, **options: Any) -> CameraPath:
    return load_trajectory(json.dumps(document).encode(), "x", **options)


def test_key_frames_alone_make_a_path_through_them() -> None:
    path = load(keyframes())
    assert path.fps == 30 and path.duration == pytest.approx(4)
    np.testing.assert_allclose(path.poses[[0, 60, 120]], POSES[[0, 4, 8]], atol=1e-6)
    assert path.size == (1920, 1080) and path.intrinsics is not None
    assert path.intrinsics[60, 1] == pytest.approx(540 / np.tan(np.radians(32)))


def test_key_frames_keep_their_own_times_and_close_where_they_say_so() -> None:
    document = keyframes(is_cycle=True)
    document["keyframes"][1] |= {"override_transition_enabled": True, "override_transition_sec": 1}
    del document["camera_path"]
    path = load(document)
    assert path.duration == pytest.approx(5)
    np.testing.assert_allclose(path.poses[[30, 90, 150]], POSES[[4, 8, 0]], atol=1e-6)


def test_older_key_frames_are_columns_in_a_text() -> None:
    document = keyframes()
    for key in document["keyframes"]:
        key["matrix"] = json.dumps(np.reshape(key["matrix"], (4, 4)).T.ravel().tolist())
    np.testing.assert_allclose(load(document).poses[60], POSES[4], atol=1e-6)
