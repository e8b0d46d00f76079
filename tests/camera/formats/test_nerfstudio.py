"""Nerfstudio's camera paths: axes, rate, lens, and mistakes by their field."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch

from flashdreams.camera.poses import yaw_pitch_of
from flashdreams.camera.trajectory import CameraPath, load_trajectory

# nerfstudio: a level camera at (1, 2, 3) of a z-up world, looking along its +y.
LEVEL = [1, 0, 0, 1, 0, 0, -1, 2, 0, 1, 0, 3, 0, 0, 0, 1]


def turn_about(axis: np.ndarray, radians: float) -> np.ndarray:
    x, y, z = axis * radians
    return torch.linalg.matrix_exp(torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)).numpy()


def nerfstudio(**changes: Any) -> dict[str, Any]:
    cameras = [{"camera_to_world": LEVEL, "fov": 60, "aspect": 16 / 9} for _ in range(4)]
    document = {"keyframes": [], "camera_type": "perspective", "render_height": 720, "render_width": 1280}
    return {**document, "camera_path": cameras, "fps": 30, "seconds": 2, "is_cycle": False, **changes}


def load(document: Any) -> CameraPath:
    return load_trajectory(json.dumps(document).encode(), "clip.json")


def test_nerfstudio_axes_become_ours() -> None:
    pose = load(nerfstudio()).poses[0]
    np.testing.assert_allclose(pose[:3, 3], (1, -3, 2))
    np.testing.assert_allclose(pose[:3, :3], np.eye(3))  # right +x, down away from its +z, forward its +y


def test_nerfstudio_camera_turned_left_and_raised_is_so_here() -> None:
    left = turn_about(np.array([0.0, 0, 1]), math.radians(30))  # counter-clockwise about its up
    up = turn_about(np.array([1.0, 0, 0]), math.radians(10))  # OpenGL: about the camera's right
    matrix = np.eye(4)
    matrix[:3, :3] = left @ np.reshape(LEVEL, (4, 4))[:3, :3] @ up
    cameras = [{"camera_to_world": matrix.flatten().tolist(), "fov": 60}]
    np.testing.assert_allclose(yaw_pitch_of(load(nerfstudio(camera_path=cameras)).poses[0]), (-30, 10), atol=1e-9)


def test_nerfstudio_rate_and_lens() -> None:
    trajectory = load(nerfstudio())
    assert trajectory.fps == 2.0  # four cameras in two seconds
    assert trajectory.size == (1280, 720) and trajectory.intrinsics is not None
    focal = 360 / math.tan(math.radians(30))
    np.testing.assert_allclose(trajectory.intrinsics, np.tile([focal, focal, 640, 360], (4, 1)))
    document = nerfstudio()
    del document["seconds"]
    assert load(document).fps == 30
    assert load(nerfstudio(camera_type="fisheye")).intrinsics is None


def test_nerfstudio_nested_matrix_is_read() -> None:
    cameras = [{"camera_to_world": np.reshape(LEVEL, (4, 4)).tolist()}]
    assert load(nerfstudio(camera_path=cameras)).intrinsics is None


def with_camera(**changes: Any) -> dict[str, Any]:
    document = nerfstudio()
    document["camera_path"][2] = {**document["camera_path"][2], **changes}
    return document


def changed(index: int, value: Any) -> list[Any]:
    return [*LEVEL[:index], value, *LEVEL[index + 1 :]]


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        (with_camera(camera_to_world=[1, 2, 3]), r"camera_path\[2\].camera_to_world: expected 16 numbers, .* got 3"),
        (with_camera(camera_to_world="x"), r"camera_path\[2\].camera_to_world: expected 16 numbers"),
        (
            with_camera(camera_to_world=changed(0, math.nan)),
            r"camera_path\[2\].camera_to_world: every number must be fin",
        ),
        (with_camera(camera_to_world=changed(0, 2)), r"camera_path\[2\].camera_to_world: the upper left 3x3"),
        (with_camera(camera_to_world=changed(12, 1)), r"camera_path\[2\].camera_to_world: the last row"),
        (with_camera(fov=180), r"camera_path\[2\].fov must be above 0 and below 180 degrees, got 180"),
        (with_camera(fov=None), r"camera_path\[2\].fov must be above 0"),
        (nerfstudio(camera_path=[]), "camera_path: expected 1 to 20000 poses, got 0"),
        (nerfstudio(camera_path={"a": 1}), "camera_path: expected a list of cameras"),
        (nerfstudio(camera_path=[7]), r"camera_path\[0\].camera_to_world is missing"),
        (nerfstudio(seconds=0), "seconds must be a number above 0, the length of the video, got 0"),
        (nerfstudio(seconds=1e5), "4 cameras in 100000 seconds: fps must be a number from 0.01 to 1000"),
        (nerfstudio(seconds=None, fps="fast"), "fps must be a number from 0.01 to 1000, got 'fast'"),
        (nerfstudio(render_height=0), "render_height must be a whole number from 1 to 65536, got 0"),
        (nerfstudio(render_width=10.5), "render_width must be a whole number"),
    ],
)
def test_bad_nerfstudio_file_names_the_field(document: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match="^clip.json: " + sentence):
        load(document)
