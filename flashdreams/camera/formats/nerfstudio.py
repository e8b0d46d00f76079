"""Nerfstudio's `camera_path.json`, as its viewer exports it.

`camera_path` lists one camera per video frame: `camera_to_world`, 16 numbers row by row, and `fov`, the vertical field
of view in degrees for a picture of `render_height` x `render_width`. Its cameras have OpenGL axes (x right, y up,
looking along -z) in a world whose up is +z; both are turned to ours here. The video lasts `seconds`; `fps` is used
where that is missing. A file that was saved before its path was made holds `keyframes` alone: the path then goes
through them as `keyframes.py` says.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from flashdreams.camera.camera_path import CameraPath, check_count, check_fps
from flashdreams.camera.formats import keyframes
from flashdreams.camera.formats.opengl import CAMERA_AXES, WORLD_AXES, matrix_of, pixels
from flashdreams.camera.intrinsics import Intrinsics
from flashdreams.camera.poses import FloatArray, check_poses

DEFAULT_FOV, DEFAULT_SIZE = 60.0, (1920, 1080)
"""Written where a trajectory knows no lens: vertical degrees, and pixels."""


def parse(document: dict[str, Any]) -> CameraPath:
    """Return the trajectory of a parsed file, in our axes. Raises ValueError naming the field and the camera."""
    cameras = document.get("camera_path")
    if not cameras and document.get("keyframes"):
        return keyframes.parse(document)
    if not isinstance(cameras, list):
        raise ValueError("camera_path: expected a list of cameras")
    check_count(len(cameras), "camera_path")
    matrices = [_matrix(camera, index) for index, camera in enumerate(cameras)]
    try:
        poses = check_poses(np.stack(matrices), "camera_path")
    except ValueError as error:
        raise ValueError(str(error).replace("]:", "].camera_to_world:", 1)) from None
    fps = _fps(document, len(cameras))
    intrinsics, size = _intrinsics(document, cameras)
    return CameraPath(WORLD_AXES @ poses @ CAMERA_AXES, fps, intrinsics, size)


def dump(trajectory: CameraPath) -> str:
    """Return the file's text in nerfstudio's axes; an unknown lens is written as 60 degrees.

    The format has one field of view per camera and no principal point of its own.
    """
    width, height = trajectory.size or DEFAULT_SIZE
    fovs = np.full(len(trajectory), DEFAULT_FOV)
    if trajectory.intrinsics is not None:
        fovs = np.degrees(2 * np.arctan2(height / 2, trajectory.intrinsics[:, 1]))
    matrices = np.round(WORLD_AXES.T @ trajectory.poses @ CAMERA_AXES, 9) + 0.0
    cameras = [
        {"camera_to_world": matrix.ravel().tolist(), "fov": fov, "aspect": width / height}
        for matrix, fov in zip(matrices, fovs.tolist(), strict=True)
    ]
    fps, seconds = trajectory.fps, len(trajectory) / trajectory.fps
    head = {"camera_type": "perspective", "render_height": height, "render_width": width, "fps": fps}
    return json.dumps({**head, "seconds": seconds, "is_cycle": False, "camera_path": cameras}) + "\n"


def _matrix(camera: Any, index: int) -> FloatArray:
    where = f"camera_path[{index}].camera_to_world"
    if not isinstance(camera, dict) or "camera_to_world" not in camera:
        raise ValueError(f"{where} is missing")
    return matrix_of(camera["camera_to_world"], where)


def _fps(document: dict[str, Any], count: int) -> float:
    seconds = document.get("seconds")
    if seconds is None:
        if "fps" not in document:
            raise ValueError("seconds and fps are both missing: expected the length of the video or its rate")
        return check_fps(document["fps"])
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds < 1e6:
        raise ValueError(f"seconds must be a number above 0, the length of the video, got {seconds!r:.40}")
    try:
        rate = check_fps(count / seconds)
        stated = check_fps(document.get("fps", rate))
        # The same rate without the rounding of a division.
        return stated if abs(stated - rate) <= 1e-9 * rate else rate
    except ValueError as error:
        raise ValueError(f"{count} cameras in {seconds:g} seconds: {error}") from None


def _intrinsics(
    document: dict[str, Any], cameras: list[dict[str, Any]]
) -> tuple[FloatArray | None, tuple[int, int] | None]:
    """Return pinhole intrinsics `[N, 4]` and their picture size, or None where the file does not give them."""
    if document.get("camera_type", "perspective") != "perspective":
        return None, None  # fisheye and panoramas: the path is good, the lens is not ours
    if "render_width" not in document or "render_height" not in document or not all("fov" in c for c in cameras):
        return None, None
    size = (pixels(document, "render_width"), pixels(document, "render_height"))
    rows = []
    for index, camera in enumerate(cameras):
        fov = camera["fov"]
        if isinstance(fov, bool) or not isinstance(fov, (int, float)) or not 0 < fov < 180:
            raise ValueError(f"camera_path[{index}].fov must be above 0 and below 180 degrees, got {fov!r:.40}")
        k = Intrinsics.from_vertical_fov(fov, *size)
        rows.append((k.fx, k.fy, k.cx, k.cy))
    return np.asarray(rows), size
