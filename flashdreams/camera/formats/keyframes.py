"""Key frames of a nerfstudio export whose path was not made yet: the path goes through them.

Each has `matrix`, 16 numbers row by row (column by column in older exports, then often as text), and may have `fov`
and `override_transition_sec`, the seconds from the key before; `default_transition_sec` holds for the others. With
`is_cycle` the path returns to the first key.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from flashdreams.camera.camera_path import CameraPath, check_count, check_fps
from flashdreams.camera.formats.opengl import CAMERA_AXES, WORLD_AXES, matrix_of, number, pixels
from flashdreams.camera.intrinsics import Intrinsics
from flashdreams.camera.poses import FloatArray, check_poses
from flashdreams.camera.splines import through_keys

TRANSITION_SECONDS = 2.0
"""From key to key where the file says nothing, as nerfstudio's viewer has it."""
FPS = 30.0
"""Poses per second where the file names none, as nerfstudio's viewer has it."""


def parse(document: dict[str, Any]) -> CameraPath:
    """Return a path through the key frames, in our axes. Raises ValueError naming the field and the key."""
    keys = document["keyframes"]
    if not isinstance(keys, list) or not all(isinstance(key, dict) and "matrix" in key for key in keys):
        raise ValueError("keyframes: expected a list of key frames with a matrix each")
    check_count(len(keys), "keyframes")
    matrices = np.stack([_matrix(key["matrix"], index) for index, key in enumerate(keys)])
    try:
        poses = WORLD_AXES @ check_poses(matrices, "keyframes") @ CAMERA_AXES
    except ValueError as error:
        raise ValueError(str(error).replace("]:", "].matrix:", 1)) from None
    fps = check_fps(document.get("fps", FPS))
    closed = document.get("is_cycle") is True and len(keys) > 1
    times = _times(document, keys, closed)
    if closed:
        keys, poses = [*keys, keys[0]], np.concatenate([poses, poses[:1]])
    path = through_keys(poses, times, fps)
    intrinsics, size = _lens(document, keys, times, len(path), fps)
    note = f"the file has {len(document['keyframes'])} key frames and no path: it goes through them smoothly"
    return CameraPath(path.poses, fps, intrinsics, size, (note,))


def _matrix(value: Any, index: int) -> FloatArray:
    where = f"keyframes[{index}].matrix"
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError(f"{where}: expected 16 numbers") from None
    matrix = matrix_of(value, where)
    by_columns = np.allclose(matrix[:3, 3], 0) and matrix[3, 3] == 1 and not np.allclose(matrix[3, :3], 0)
    return matrix.T if by_columns else matrix


def _times(document: dict[str, Any], keys: list[dict[str, Any]], closed: bool) -> FloatArray:
    """Return the seconds at which each key is reached, the return to the first included."""
    usual = document.get("default_transition_sec")
    length = document.get("seconds")
    gaps = len(keys) - 1 + closed
    if usual is None and isinstance(length, (int, float)) and length > 0 and gaps:
        usual = number(length, "seconds", 0.0, 3600.0) / gaps
    usual = TRANSITION_SECONDS if usual is None else number(usual, "default_transition_sec", 1e-3, 3600.0)
    seconds = [0.0]
    for index in range(1, gaps + 1):
        key, where = keys[index % len(keys)], f"keyframes[{index % len(keys)}].override_transition_sec"
        own = key.get("override_transition_sec") if key.get("override_transition_enabled", True) else None
        seconds.append(usual if own is None else number(own, where, 1e-3, 3600.0))
    return np.cumsum(seconds)


def _lens(
    document: dict[str, Any], keys: list[dict[str, Any]], times: FloatArray, count: int, fps: float
) -> tuple[FloatArray | None, tuple[int, int] | None]:
    """Return intrinsics `[count, 4]`, the field of view blended from key to key, where the file gives it."""
    has_size = "render_width" in document and "render_height" in document
    perspective = str(document.get("camera_type", "perspective")).lower() == "perspective"
    if not has_size or not perspective or not all("fov" in key for key in keys):
        return None, None
    size = pixels(document, "render_width"), pixels(document, "render_height")
    fovs = [number(key["fov"], f"keyframes[{index}].fov", 1e-3, 179.9) for index, key in enumerate(keys)]
    lenses = [Intrinsics.from_vertical_fov(fov, *size) for fov in np.interp(np.arange(count) / fps, times, fovs)]
    return np.array([(lens.fx, lens.fy, lens.cx, lens.cy) for lens in lenses]), size
