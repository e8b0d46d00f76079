"""Trajectories and their files: three formats, resampling, and every way a file can be wrong."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flashdreams.camera import quaternions
from flashdreams.camera.poses import pose_from_yaw_pitch, relative_pose, yaw_pitch_of
from flashdreams.camera.trajectory import MAX_BYTES, CameraPath, load_trajectory, save_trajectory

ANGLE = st.floats(-179.0, 179.0)
POSE = st.builds(
    pose_from_yaw_pitch, st.tuples(*[st.floats(-100, 100)] * 3), ANGLE, st.floats(-85.0, 85.0), st.floats(-90.0, 90.0)
)
WALK = np.stack([pose_from_yaw_pitch([0, -1.6, 0.1 * n], 2.0 * n, -n) for n in range(9)])


def hamilton(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Product of two quaternions (vector part, then real part)."""
    vector = a[3] * b[:3] + b[3] * a[:3] + np.cross(a[:3], b[:3])
    return np.array([*vector, a[3] * b[3] - a[:3] @ b[:3]])


def rotated(quaternion: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """q v q*"""
    back = quaternion * (-1, -1, -1, 1)
    return hamilton(hamilton(quaternion, np.array([*vector, 0.0])), back)[:3]


def turn_about(axis: np.ndarray, radians: float) -> np.ndarray:
    x, y, z = axis * radians
    return torch.linalg.matrix_exp(torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)).numpy()


@given(POSE)
@settings(max_examples=60, deadline=None)
def test_quaternions_turn_vectors_as_their_matrices_do(pose: np.ndarray) -> None:
    quaternion = quaternions.from_matrices(pose[None, :3, :3])[0]
    for vector in np.eye(3):
        np.testing.assert_allclose(rotated(quaternion, vector), pose[:3, :3] @ vector, atol=1e-9)
    np.testing.assert_allclose(quaternions.to_matrices(quaternion[None])[0], pose[:3, :3], atol=1e-9)


@pytest.mark.parametrize("axis", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.6, 0, 0.8)])
@pytest.mark.parametrize("degrees", [0.0, 1e-7, 90.0, 179.999999, 180.0])
def test_quaternions_keep_their_digits_at_every_angle(axis: tuple[float, ...], degrees: float) -> None:
    matrix = turn_about(np.asarray(axis), math.radians(degrees))[None]
    np.testing.assert_allclose(quaternions.to_matrices(quaternions.from_matrices(matrix)), matrix, atol=1e-12)


@given(start=POSE, x=st.floats(-1, 1), y=st.floats(-1, 1), angle=st.floats(0.01, 3.0), share=st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_resampled_rotation_turns_evenly_about_one_axis(
    start: np.ndarray, x: float, y: float, angle: float, share: float
) -> None:
    axis = np.array([x, y, 1.0]) / np.linalg.norm([x, y, 1.0])
    end = start.copy()
    end[:3, :3] = turn_about(axis, angle) @ start[:3, :3]
    end[:3, 3] += (1, 2, 3)
    middle = CameraPath(np.stack([start, end]), 10.0).sampled([share], 10.0).poses[0]
    np.testing.assert_allclose(middle[:3, :3], turn_about(axis, angle * share) @ start[:3, :3], atol=1e-7)
    np.testing.assert_allclose(middle[:3, 3], start[:3, 3] + share * np.array([1, 2, 3]), atol=1e-9)


@pytest.mark.parametrize(("fps", "count"), [(10, 9), (20, 17), (5, 5), (3, 3), (24, 20), (0.5, 1), (1000 / 3, 267)])
def test_resampling_keeps_duration_and_start(fps: float, count: int) -> None:
    result = CameraPath(WALK, 10).resample(fps)
    assert (len(result), result.fps) == (count, fps)
    np.testing.assert_allclose(result.poses[0], WALK[0], atol=1e-9)
    assert 0 <= 0.8 - result.duration < 1 / fps + 1e-9
    np.testing.assert_allclose(result.poses[:, 2, 3], np.arange(count) / fps, atol=1e-9)


def test_resampling_twice_as_fast_keeps_every_old_pose() -> None:
    np.testing.assert_allclose(CameraPath(WALK, 10).resample(20).poses[::2], WALK, atol=1e-9)


def test_resampling_interpolates_intrinsics() -> None:
    lens = np.array([[100.0, 100, 50, 40], [200, 200, 50, 40]])
    result = CameraPath(WALK[:2], 10, lens, (100, 80)).resample(20)
    assert result.intrinsics is not None
    np.testing.assert_allclose(result.intrinsics[1], (150, 150, 50, 40))


def test_resampling_to_too_many_poses_is_refused() -> None:
    with pytest.raises(ValueError, match="accepted are 200000"):
        CameraPath(WALK, 0.01).resample(1000)


def test_a_path_can_start_elsewhere_with_its_shape_kept() -> None:
    there = pose_from_yaw_pitch([5, -1.6, 7], 120, 25)
    moved = CameraPath(WALK, 10).starting_at(there)
    np.testing.assert_allclose(moved.poses[0, :3, 3], (5, -1.6, 7))
    assert yaw_pitch_of(moved.poses[0])[0] == pytest.approx(120)
    for before, after in zip(WALK, moved.poses, strict=True):
        assert yaw_pitch_of(after)[1] == pytest.approx(yaw_pitch_of(before)[1], abs=1e-9)
    np.testing.assert_allclose(relative_pose(moved.poses[0], moved.poses), relative_pose(WALK[0], WALK), atol=1e-9)


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
    with pytest.raises(ValueError, match=r"20001 poses makes a file of .* save a part or a lower rate"):
        save_trajectory(CameraPath(np.tile(np.eye(4), (20001, 1, 1)), 24), tmp_path / "long.json")
    assert not list(tmp_path.iterdir())


# nerfstudio: a level camera at (1, 2, 3) of a z-up world, looking along its +y.
LEVEL = [1, 0, 0, 1, 0, 0, -1, 2, 0, 1, 0, 3, 0, 0, 0, 1]


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


def tum(poses: np.ndarray, times: np.ndarray) -> str:
    turns = quaternions.from_matrices(poses[:, :3, :3])
    rows = (
        f"{t:.6f} " + " ".join(f"{v:.9f}" for v in (*p, *q))
        for t, p, q in zip(times, poses[:, :3, 3], turns, strict=True)
    )
    return "# timestamp tx ty tz qx qy qz qw\n\n" + "\n".join(rows) + "\n"


def test_tum_quaternion_has_its_real_part_last() -> None:
    half = math.radians(45)
    text = f"0 1 2 3 0 {math.sin(half)} 0 {math.cos(half)}\n0.5 1 2 3 0 0 0 1  # level\n"
    trajectory = load_trajectory(text.encode())
    assert trajectory.fps == 2
    np.testing.assert_allclose(trajectory.poses[0], pose_from_yaw_pitch([1, 2, 3], 90, 0), atol=1e-12)
    np.testing.assert_allclose(trajectory.poses[1], pose_from_yaw_pitch([1, 2, 3], 0, 0), atol=1e-12)


def test_tum_with_even_times_keeps_its_poses() -> None:
    trajectory = load_trajectory(tum(WALK, 1305031102.1753 + np.arange(9) / 30).encode())
    assert trajectory.fps == 30
    np.testing.assert_allclose(trajectory.poses, WALK, atol=1e-8)


def test_tum_with_uneven_times_is_made_even() -> None:
    times = np.array([0.0, 0.1, 0.2, 0.6, 0.7, 0.8])
    poses = np.stack([pose_from_yaw_pitch([0, 0, 3 * t], 50 * t, 0) for t in times])
    trajectory = load_trajectory(tum(poses, times).encode())
    even = np.linspace(0, 0.8, 9)  # at the usual step, 0.1 s, through the hole too
    assert trajectory.duration == pytest.approx(0.8)
    np.testing.assert_allclose(trajectory.poses[:, 2, 3], 3 * even, atol=1e-6)
    np.testing.assert_allclose([yaw_pitch_of(pose)[0] for pose in trajectory.poses], 50 * even, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("hello world", r"line 1: expected 8 numbers \(timestamp tx ty tz qx qy qz qw\), got 2 words"),
        ("# c\n0 0 0 0 0 0 0 1\n1 0 0 0 0 0 1", "line 3: expected 8 numbers .* got 7 words"),
        ("0 0 0 0 0 0 0 1\n1 0 x 0 0 0 0 1", "line 2: ty must be a number, got 'x'"),
        ("0 0 0 0 0 0 0 1\n1 0 0 nan 0 0 0 1", "line 2: tz must be finite, got 'nan'"),
        ("0 0 0 0 0 0 0 1\n1 0 0 1e7 0 0 0 1", "line 2: tz must lie within 1,000,000 units"),
        ("0 0 0 0 0 0 0 1\n1 0 0 0 0 0 0 0", "line 2: qx qy qz qw must be a unit quaternion, got one of length 0"),
        ("0 0 0 0 0 0 0 1\n\n0 0 0 0 0 0 0 1", "line 3: timestamp must be later than on the line before"),
        ("0 0 0 0 0 0 0 1", "expected at least two poses: a single one has no rate"),
        ("0 0 0 0 0 0 0 1\n1e13 0 0 0 0 0 0 1", r"2 timestamps within 1e\+13 s: fps must be a number"),
        ("# only a comment", "the file: expected 1 to 20000 poses, got 0"),
    ],
)
def test_bad_tum_file_names_line_and_field(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match="^walk.txt: " + sentence):
        load_trajectory(text.encode(), "walk.txt")


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
