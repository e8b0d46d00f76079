"""Cameras of reconstructed photo sets: `transforms.json` of nerfstudio, and `cameras.json` of Gaussian splatting.

Both list a camera for each photo and name no rate. They are taken in the order of their photos' names.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from flashdreams.camera.camera_path import CameraPath, check_count
from flashdreams.camera.formats.opengl import CAMERA_AXES, WORLD_AXES, matrix_of, number, pixels
from flashdreams.camera.intrinsics import Intrinsics
from flashdreams.camera.poses import FloatArray, check_poses

FPS = 16.0
"""Poses per second where the caller names no rate."""


def parse_transforms(document: dict[str, Any], fps: float | None) -> CameraPath:
    """Return the path along `frames[].transform_matrix`, in our axes. Raises ValueError naming field and frame."""
    frames = document.get("frames")
    if not isinstance(frames, list) or not all(isinstance(f, dict) and "transform_matrix" in f for f in frames):
        raise ValueError("frames: expected a list of frames with a transform_matrix each")
    check_count(len(frames), "frames")
    order = _order([frame.get("file_path") for frame in frames])
    matrices = [matrix_of(frames[index]["transform_matrix"], f"frames[{index}].transform_matrix") for index in order]
    poses = check_poses(np.stack(matrices), "frames")
    intrinsics, size = _transforms_lens(document, [frames[index] for index in order])
    return CameraPath(WORLD_AXES @ poses @ CAMERA_AXES, fps or FPS, intrinsics, size, _notes(fps))


def parse_cameras(cameras: list[Any], fps: float | None) -> CameraPath:
    """Return the path along cameras with `position` and `rotation`. Raises ValueError naming field and camera."""
    check_count(len(cameras), "the list")
    order = _order([camera.get("img_name") for camera in cameras])
    poses = np.tile(np.eye(4), (len(order), 1, 1))
    for row, index in enumerate(order):
        try:
            poses[row, :3, :3] = np.asarray(cameras[index]["rotation"], dtype=np.float64)
            poses[row, :3, 3] = np.asarray(cameras[index]["position"], dtype=np.float64)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise ValueError(f"[{index}]: expected a position of 3 numbers and a rotation of 3 x 3") from None
    first = cameras[order[0]]
    same_size = all(c.get("width") == first.get("width") and c.get("height") == first.get("height") for c in cameras)
    if not same_size or not all(name in first for name in ("width", "height", "fx", "fy")):
        return CameraPath(check_poses(poses, "cameras"), fps or FPS, notes=_notes(fps))
    size = pixels(first, "width"), pixels(first, "height")
    focal = [[number(cameras[i].get(n), f"[{i}].{n}", 1e-3, 1e6) for n in ("fx", "fy")] for i in order]
    intrinsics = np.concatenate([focal, np.tile([size[0] / 2, size[1] / 2], (len(order), 1))], axis=1)
    return CameraPath(check_poses(poses, "cameras"), fps or FPS, intrinsics, size, _notes(fps))


def _transforms_lens(
    document: dict[str, Any], frames: list[dict[str, Any]]
) -> tuple[FloatArray | None, tuple[int, int] | None]:
    """Return intrinsics in pixels of one picture size, or None where the file gives none."""

    def value(frame: dict[str, Any], name: str) -> Any:
        return frame.get(name, document.get(name))

    sizes = {(value(frame, "w"), value(frame, "h")) for frame in frames}
    if len(sizes) != 1 or None in next(iter(sizes)):
        return None, None
    first = {name: value(frames[0], name) for name in ("w", "h")}
    width, height = pixels(first, "w"), pixels(first, "h")
    rows = []
    for index, frame in enumerate(frames):
        fl_x, angle = value(frame, "fl_x"), value(frame, "camera_angle_x")
        if fl_x is None and angle is None:
            return None, None
        if fl_x is None:
            degrees = np.degrees(number(angle, f"frames[{index}].camera_angle_x", 1e-3, 3.14))
            fl_x = Intrinsics.from_fov(float(degrees), width, height).fx
        fl_y, cx, cy = value(frame, "fl_y"), value(frame, "cx"), value(frame, "cy")
        row = (fl_x, fl_x if fl_y is None else fl_y, width / 2 if cx is None else cx, height / 2 if cy is None else cy)
        names = ("fl_x", "fl_y", "cx", "cy")
        rows.append([number(n, f"frames[{index}].{name}", -1e6, 1e6) for n, name in zip(row, names, strict=True)])
    return np.array(rows), (width, height)


def _order(names: list[Any]) -> list[int]:
    """Return the indices in the natural order of the photos' names, or as they are where one has none."""
    if not all(isinstance(name, str) for name in names):
        return list(range(len(names)))

    def parts(index: int) -> list[tuple[bool, int, str]]:
        split = re.findall(r"\d{1,18}|\D+", names[index])
        return [(True, int(part), "") if part[0].isascii() and part.isdigit() else (False, 0, part) for part in split]

    return sorted(range(len(names)), key=parts)


def _notes(fps: float | None) -> tuple[str, ...]:
    return () if fps else (f"the file names no rate: played at {FPS:g} poses a second",)
