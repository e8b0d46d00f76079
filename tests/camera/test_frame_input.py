"""Action tracks: read, written, resampled, and refused where a format has none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flashdreams.camera.camera_path import CameraPath
from flashdreams.camera.frame_input import FrameInput, parse_track, track_entries
from flashdreams.camera.trajectory import FORMATS, encode_trajectory, load_trajectory, save_trajectory

JUMP = FrameInput(actions=frozenset({"jump"}), keys=frozenset("w"))
TURN = FrameInput(mouse=(1 / 3, -0.5), scroll=0.25)
POSES = np.repeat(np.eye(4)[None], 5, 0)


def test_a_track_is_written_and_read_again_exactly() -> None:
    inputs = (JUMP, JUMP, TURN, FrameInput(), FrameInput())
    path = CameraPath(POSES, 24, inputs=inputs)
    assert load_trajectory(encode_trajectory(path)).inputs == inputs
    entries = track_entries(inputs)
    assert [entry["frames"] for entry in entries] == [2, 1, 2]
    assert parse_track(json.loads(json.dumps(entries)), 5) == inputs


def test_a_short_track_is_neutral_to_its_end_and_needs_no_poses() -> None:
    document = {"fps": 24, "poses": POSES.tolist(), "inputs": [{"frames": 2, "keys": ["w"]}]}
    held = FrameInput(keys=frozenset("w"))
    assert load_trajectory(json.dumps(document).encode()).inputs == (held, held, *[FrameInput()] * 3)
    del document["poses"]
    alone = load_trajectory(json.dumps(document).encode())
    assert alone.inputs == (held, held) and np.array_equal(alone.poses, POSES[:2])


def test_another_rate_keeps_what_is_held_and_the_whole_motion() -> None:
    path = CameraPath(POSES, 24, inputs=(TURN,) * 5)
    for fps in (12, 48):
        inputs = path.resample(fps).inputs
        seconds = 4 / 24
        degrees = sum(frame.mouse[0] for frame in inputs[: round(seconds * fps)])
        assert degrees == pytest.approx(4 / 3) and sum(f.scroll for f in inputs[: round(seconds * fps)]) == 1.0
    assert path.resample(48).inputs[0].mouse == (1 / 6, -0.25)


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ({"frames": 0}, "inputs[1].frames"),
        ({"frames": 20_000}, "inputs[1].frames"),
        ({"keys": "w"}, "inputs[1].keys"),
        ({"actions": [1]}, "inputs[1].actions"),
        ({"mouse": [1]}, "inputs[1].mouse"),
        ({"mouse": [1, float("nan")]}, "inputs[1].mouse"),
        ({"scroll": 1e9}, "inputs[1].scroll"),
        ({"button": 1}, "inputs[1]"),
        ([], "inputs[1]"),
    ],
)
def test_a_wrong_entry_is_named(entry: Any, named: str) -> None:
    document = {"fps": 24, "poses": POSES.tolist(), "inputs": [{}, entry]}
    with pytest.raises(ValueError, match="inputs") as refusal:
        load_trajectory(json.dumps(document).encode())
    assert named in str(refusal.value)


def test_more_inputs_than_poses_are_refused() -> None:
    document = {"fps": 24, "poses": POSES.tolist(), "inputs": [{"frames": 6}]}
    with pytest.raises(ValueError, match="inputs"):
        load_trajectory(json.dumps(document).encode())


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "flashdreams"])
def test_other_formats_refuse_a_track(form: Any, tmp_path: Path) -> None:
    path = CameraPath(POSES, 24, inputs=(JUMP,) * 5)
    with pytest.raises(ValueError, match="inputs"):
        encode_trajectory(path, form)
    with pytest.raises(ValueError, match="inputs"):
        save_trajectory(path, tmp_path / "folder")


@pytest.mark.parametrize("other", ["camera_path", "frames"])
def test_an_other_json_with_a_track_is_refused(other: str) -> None:
    with pytest.raises(ValueError, match="inputs"):
        load_trajectory(json.dumps({other: [], "inputs": []}).encode())
