"""The project's own trajectory format: what is written is read, and mistakes are named."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flashdreams.camera.poses import pose_from_yaw_pitch
from flashdreams.camera.trajectory import CameraPath, load_trajectory, save_trajectory

ANGLE = st.floats(-179.0, 179.0)
POSE = st.builds(
    pose_from_yaw_pitch, st.tuples(*[st.floats(-100, 100)] * 3), ANGLE, st.floats(-85.0, 85.0), st.floats(-90.0, 90.0)
)
WALK = np.stack([pose_from_yaw_pitch([0, -1.6, 0.1 * n], 2.0 * n, -n) for n in range(9)])


@given(poses=st.lists(POSE, min_size=1, max_size=6), fps=st.floats(0.01, 1000))
@settings(max_examples=40, deadline=None)
def test_own_format_round_trip(tmp_path_factory: pytest.TempPathFactory, poses: list[np.ndarray], fps: float) -> None:
    path = tmp_path_factory.mktemp("round") / "path.json"
    save_trajectory(CameraPath(np.stack(poses), fps), path)
    again = load_trajectory(path)
    assert again.fps == fps and again.intrinsics is None
    np.testing.assert_allclose(again.poses, np.stack(poses), atol=1e-9)


def test_own_format_round_trip_with_intrinsics_leaves_no_draft(tmp_path: Path) -> None:
    lens = np.tile([123.25, 124.5, 64.0, 36.0], (9, 1))
    save_trajectory(CameraPath(WALK, 24, lens, (128, 72)), tmp_path / "path.json")
    again = load_trajectory(tmp_path / "path.json")
    assert again.size == (128, 72) and again.intrinsics is not None
    np.testing.assert_array_equal(again.intrinsics, lens)
    assert [file.name for file in tmp_path.iterdir()] == ["path.json"]


def test_hand_written_minimum_is_read() -> None:
    data = json.dumps({"fps": 12, "poses": WALK.tolist()}).encode()
    np.testing.assert_array_equal(load_trajectory(data).poses, WALK)
    np.testing.assert_array_equal(load_trajectory(b"\xef\xbb\xbf \n" + data).poses, WALK)


def test_too_long_to_be_read_back_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"20001 poses .* save a part or a lower rate"):
        save_trajectory(CameraPath(np.tile(np.eye(4), (20001, 1, 1)), 24), tmp_path / "long.json")
    assert not list(tmp_path.iterdir())


def load(document: Any) -> CameraPath:
    return load_trajectory(json.dumps(document).encode(), "clip.json")


def own_format(**changes: Any) -> dict[str, Any]:
    return {"format": "flashdreams-trajectory", "version": 1, "fps": 24, "poses": WALK.tolist(), **changes}


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        (own_format(format="other"), 'expected format "flashdreams-trajectory" version 1, got .other. version 1'),
        (own_format(version=2), 'expected format "flashdreams-trajectory" version 1'),
        (own_format(poses=3), "poses: expected a list of 4x4 matrices"),
        (own_format(poses=[]), "poses: expected 1 to 20000 poses, got 0"),
        (own_format(poses=[0] * 20001), "poses: expected 1 to 20000 poses, got 20001"),
        (own_format(poses=[WALK[0].tolist(), [1]]), r"poses\[1\]: expected a 4x4 matrix of numbers, got shape \[1\]"),
        (own_format(poses=[(WALK[0] * math.nan).tolist()]), r"poses\[0\]: every number must be finite"),
        (own_format(fps=0), "fps must be a number from 0.01 to 1000, got 0"),
        (own_format(fps=True), "fps must be a number"),
        (own_format(fps=None), "fps must be a number"),
        ({"poses": WALK.tolist()}, "fps is missing"),
        (own_format(intrinsics=[[1, 1, 1, 1]] * 9), "intrinsics need width and height"),
        (
            own_format(intrinsics=[[1, 1, 1, 1]], width=4, height=4),
            r"intrinsics: expected shape \[9, 4\], one row per pose",
        ),
        (
            own_format(intrinsics=[[0, 1, 1, 1]] * 9, width=4, height=4),
            r"intrinsics\[0\]: every number must be finite, fx and",
        ),
        (own_format(intrinsics=["a"] * 9, width=4, height=4), "intrinsics: expected rows of four numbers"),
        (own_format(width=4), "width and height must be whole numbers from 1 to 65536"),
        ({"frames": []}, "frames: expected 1 to 20000 poses, got 0"),
        ({"camera": []}, 'the JSON has neither "poses" nor "camera_path" but "camera": expected our JSON'),
        ([1, 2], "the JSON is a list: expected our JSON"),
    ],
)
def test_bad_own_file_names_the_field(document: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match="^clip.json: " + sentence):
        load(document)
