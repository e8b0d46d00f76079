"""The project's own trajectory format: a JSON object with matrices as nested lists.

    {"format": "flashdreams-trajectory", "version": 1, "fps": 24,
     "poses": [[[r, r, r, x], [r, r, r, y], [r, r, r, z], [0, 0, 0, 1]], ...],
     "width": 256, "height": 144, "intrinsics": [[fx, fy, cx, cy], ...]}

Poses are camera-to-world with x right, y down, z forward and the world's up at -y. The last three fields are optional;
`format` and `version` may be left out by hand-written files.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from flashdreams.camera.camera_path import CameraPath, check_count
from flashdreams.camera.formats.lens import in_pixels
from flashdreams.camera.poses import FloatArray, check_poses

FORMAT = "flashdreams-trajectory"
VERSION = 1
DECIMALS = 9
"""Written after the point: far below what a picture shows, and half the size of full precision."""


def parse(document: dict[str, Any]) -> CameraPath:
    """The trajectory of a parsed file. Raises ValueError naming the field."""
    if document.get("format", FORMAT) != FORMAT or document.get("version", VERSION) != VERSION:
        raise ValueError(
            f'expected format "{FORMAT}" version {VERSION},'
            f" got {document.get('format')!r:.60} version {document.get('version')!r:.20}"
        )
    poses = document.get("poses")
    if not isinstance(poses, list):
        raise ValueError("poses: expected a list of 4x4 matrices")
    check_count(len(poses), "poses")
    if "fps" not in document:
        raise ValueError("fps is missing: expected the number of poses per second")
    size = None
    if "width" in document or "height" in document:
        size = (document.get("width"), document.get("height"))
    checked = CameraPath(check_poses(poses, "poses"), document["fps"], document.get("intrinsics"), size)  # type: ignore[arg-type]
    if checked.intrinsics is None:
        return checked
    intrinsics, _ = in_pixels(checked.intrinsics, checked.size)
    return CameraPath(checked.poses, checked.fps, intrinsics, checked.size)


def dump(trajectory: CameraPath) -> str:
    """The file's text: one pose a line."""
    head: dict[str, Any] = {"format": FORMAT, "version": VERSION, "fps": trajectory.fps}
    if trajectory.size is not None:
        head["width"], head["height"] = trajectory.size
    parts = [json.dumps(head, indent=1)[:-2]]
    if trajectory.intrinsics is not None:
        parts.append(f' "intrinsics": [\n{_rows(trajectory.intrinsics)}\n ]')
    parts.append(f' "poses": [\n{_rows(trajectory.poses)}\n ]')
    return ",\n".join(parts) + "\n}\n"


def _rows(values: FloatArray) -> str:
    rounded = np.round(values, DECIMALS) + 0.0  # + 0.0 turns -0.0 into 0.0
    return ",\n".join(json.dumps(_short(row), separators=(",", ":")) for row in rounded.tolist())


def _short(value: Any) -> Any:
    """Nested lists with whole numbers written without a point."""
    if isinstance(value, list):
        return [_short(item) for item in value]
    return int(value) if value == int(value) else value
