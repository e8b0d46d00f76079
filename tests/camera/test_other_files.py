"""Camera path files as other programs write them: each is the one known path, or is named for what it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flashdreams.camera.poses import pose_from_yaw_pitch
from flashdreams.camera.trajectory import (
    MAX_POSES,
    CameraPath,
    load_trajectory,
    save_trajectory,
)

COUNT = 12
POSES = np.stack([pose_from_yaw_pitch([0.05 * n, -1.6, 0.1 * n - 6], 4.0 * n, -0.5 * n) for n in range(COUNT)])
OPENGL = np.diag([1.0, -1, -1, 1])
Z_UP = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
"""From our world (y down, z forward) to one whose up is +z: its y is our z, its z is our -y."""
THEIRS = Z_UP @ POSES @ OPENGL


def load(document: Any, **options: Any) -> CameraPath:
    return load_trajectory(json.dumps(document).encode(), "x", **options)


@pytest.mark.parametrize("count", [18_000, MAX_POSES])
def test_the_longest_path_is_read_back_from_a_folder(tmp_path: Path, count: int) -> None:
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, 0, 3] = np.random.default_rng(0).normal(size=count)
    save_trajectory(CameraPath(poses, 24.0), tmp_path / "walk")
    np.testing.assert_array_equal(load_trajectory(tmp_path / "walk").poses, poses)
    with pytest.raises(ValueError, match=str(MAX_POSES)):
        save_trajectory(CameraPath(np.tile(np.eye(4), (MAX_POSES + 1, 1, 1)), 24.0), tmp_path / "long")
    assert not (tmp_path / "long").exists()


@pytest.mark.parametrize(
    "document",
    [
        {"camera_path": [{"camera_to_world": THEIRS[0].tolist()}], "seconds": 1, "fps": 10**400},
        {"camera_path": [{"camera_to_world": THEIRS[0].tolist()}], "seconds": 10**400},
        {"keyframes": [{"matrix": [10**400] * 16}]},
        {"keyframes": [{"matrix": THEIRS[0].tolist()}] * 2, "default_transition_sec": 10**400},
        {"frames": [{"transform_matrix": [[10**400] * 4] * 4}]},
        {"fps": 24, "poses": POSES.tolist(), "width": 64, "height": 64, "intrinsics": [[10**400] * 4] * COUNT},
        [{"rotation": [[10**400] * 3] * 3, "position": [0, 0, 0]}],
        {"poses": POSES.tolist(), "fps": 10**400},
    ],
)
def test_numbers_beyond_all_bounds_are_refused(document: Any) -> None:
    with pytest.raises(ValueError, match=r"^x: "):
        load(document)
