"""The project's own trajectory format: a JSON object with matrices as nested lists.

    {"format": "flashdreams-trajectory", "version": 1, "fps": 24,
     "poses": [[[r, r, r, x], [r, r, r, y], [r, r, r, z], [0, 0, 0, 1]], ...],
     "width": 256, "height": 144, "intrinsics": [[fx, fy, cx, cy], ...],
     "inputs": [{"frames": 40, "keys": ["w"], "actions": ["jump"], "mouse": [yaw, pitch], "scroll": 0}, ...]}

Poses are camera-to-world with x right, y down, z forward and the world's up at -y. `inputs` is the action track, see
`flashdreams.camera.frame_input`; frames after its end have no input. The last four fields are optional; `format` and
`version` may be left out by hand-written files, and `poses` where there are `inputs`, for models without a camera.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np

from flashdreams.camera.camera_path import MAX_POSES, CameraPath, check_count
from flashdreams.camera.formats.lens import in_pixels
from flashdreams.camera.frame_input import FrameInput, parse_track, track_entries
from flashdreams.camera.poses import FloatArray, check_poses

FORMAT = "flashdreams-trajectory"
VERSION = 1
DECIMALS = 9
"""Written after the point: far below what a picture shows, and half the size of full precision."""


def parse(document: dict[str, Any]) -> CameraPath:
    """Return the trajectory of a parsed file. Raises ValueError naming the field."""
    if document.get("format", FORMAT) != FORMAT or document.get("version", VERSION) != VERSION:
        raise ValueError(
            f'expected format "{FORMAT}" version {VERSION},'
            f" got {document.get('format')!r:.60} version {document.get('version')!r:.20}"
        )
    inputs = parse_track(document["inputs"], MAX_POSES) if "inputs" in document else ()
    poses = document.get("poses", [np.eye(4).tolist()] * len(inputs) if inputs else None)
    if not isinstance(poses, list):
        raise ValueError("poses: expected a list of 4x4 matrices")
    check_count(len(poses), "poses")
    if "fps" not in document:
        raise ValueError("fps is missing: expected the number of poses per second")
    size = None
    if "width" in document or "height" in document:
        size = (document.get("width"), document.get("height"))
    checked = CameraPath(check_poses(poses, "poses"), document["fps"], document.get("intrinsics"), size)  # type: ignore[arg-type]
    if len(inputs) > len(poses):
        raise ValueError(f"inputs: expected at most {len(poses)} frames, as many as poses, got {len(inputs)}")
    if inputs:
        inputs += (FrameInput(),) * (len(poses) - len(inputs))
    if checked.intrinsics is None:
        return replace(checked, inputs=inputs)
    intrinsics, _ = in_pixels(checked.intrinsics, checked.size)
    return CameraPath(checked.poses, checked.fps, intrinsics, checked.size, inputs=inputs)


def dump(trajectory: CameraPath) -> str:
    """Return the file's text: one pose a line."""
    head: dict[str, Any] = {"format": FORMAT, "version": VERSION, "fps": trajectory.fps}
    if trajectory.size is not None:
        head["width"], head["height"] = trajectory.size
    parts = [json.dumps(head, indent=1)[:-2]]
    if trajectory.intrinsics is not None:
        parts.append(f' "intrinsics": [\n{_rows(trajectory.intrinsics)}\n ]')
    if trajectory.inputs:
        rows = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in track_entries(trajectory.inputs))
        parts.append(f' "inputs": [\n{rows}\n ]')
    parts.append(f' "poses": [\n{_rows(trajectory.poses)}\n ]')
    return ",\n".join(parts) + "\n}\n"


def _rows(values: FloatArray) -> str:
    rounded = np.round(values, DECIMALS) + 0.0  # + 0.0 turns -0.0 into 0.0
    return ",\n".join(json.dumps(_short(row), separators=(",", ":")) for row in rounded.tolist())


def _short(value: Any) -> Any:
    """Return nested lists with whole numbers written without a point."""
    if isinstance(value, list):
        return [_short(item) for item in value]
    return int(value) if value == int(value) else value
