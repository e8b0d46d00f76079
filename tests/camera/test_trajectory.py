"""Trajectories and their files: three formats, resampling, and every way a file can be wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flashdreams.camera.poses import pose_from_yaw_pitch
from flashdreams.camera.trajectory import MAX_BYTES, CameraPath, load_trajectory

WALK = np.stack([pose_from_yaw_pitch([0, -1.6, 0.1 * n], 2.0 * n, -n) for n in range(9)])


# nerfstudio: a level camera at (1, 2, 3) of a z-up world, looking along its +y.
LEVEL = [1, 0, 0, 1, 0, 0, -1, 2, 0, 1, 0, 3, 0, 0, 0, 1]


def nerfstudio(**changes: Any) -> dict[str, Any]:
    cameras = [{"camera_to_world": LEVEL, "fov": 60, "aspect": 16 / 9} for _ in range(4)]
    document = {"keyframes": [], "camera_type": "perspective", "render_height": 720, "render_width": 1280}
    return {**document, "camera_path": cameras, "fps": 30, "seconds": 2, "is_cycle": False, **changes}


def own_format(**changes: Any) -> dict[str, Any]:
    return {"format": "flashdreams-trajectory", "version": 1, "fps": 24, "poses": WALK.tolist(), **changes}


def load(document: Any) -> CameraPath:
    return load_trajectory(json.dumps(document).encode(), "clip.json")


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "the file is empty: expected our JSON"),
        (b" \n\t", "the file is empty"),
        (b"\xff\xfe\x00", "not a text file"),
        (b"\x00\x00\x00\x18ftypmp42", "not a text file"),
        (b'{"poses": [', "line 1: not valid JSON"),
        (b'{\n"poses": [],\n}', "line 3: not valid JSON"),
        (b"[" * 100_000, "not valid JSON here: nested too deeply"),
        (b'{"poses": ' + b"9" * 5000 + b"}", "a number has too many digits"),
        (b" " * (MAX_BYTES + 1), "the file is larger than 8 MiB"),
    ],
)
def test_what_is_no_trajectory_is_said_in_one_sentence(data: bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match="^upload: .*" + sentence) as caught:
        load_trajectory(data, "upload")
    assert "\n" not in str(caught.value)


def test_missing_file_folder_and_large_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no trajectory file"):
        load_trajectory(tmp_path / "none.json")
    with pytest.raises(ValueError, match="expected a trajectory file, got a folder"):
        load_trajectory(tmp_path)
    (tmp_path / "large.txt").write_bytes(b"0" * (MAX_BYTES + 5))
    with pytest.raises(ValueError, match=r"^large\.txt: the file is larger than 8 MiB"):
        load_trajectory(str(tmp_path / "large.txt"))


@pytest.mark.slow
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_read_or_refused_with_a_value_error(data: bytes) -> None:
    try:
        assert len(load_trajectory(data)) >= 1
    except ValueError as error:
        assert str(error).startswith("trajectory: ")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
FIELDS = ["poses", "fps", "intrinsics", "width", "height", "format", "version", "camera_path", "seconds", "camera_type"]


@given(st.dictionaries(st.sampled_from([*FIELDS, "render_width", "render_height"]), JSON), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_field_values_are_read_or_refused_with_a_value_error(fields: dict[str, Any], as_nerfstudio: bool) -> None:
    base = nerfstudio() if as_nerfstudio else own_format()
    try:
        assert len(load({**base, **fields})) >= 1
    except ValueError as error:
        assert str(error).startswith("clip.json: ")
