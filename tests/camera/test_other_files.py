"""Camera path files as other programs write them: each is the one known path, or is named for what it is."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flashdreams.camera import quaternions
from flashdreams.camera.poses import pose_from_yaw_pitch
from flashdreams.camera.trajectory import (
    MAX_POSES,
    CameraPath,
    encode_trajectory,
    load_trajectory,
    save_trajectory,
)

COUNT, FPS = 12, 24.0
POSES = np.stack([pose_from_yaw_pitch([0.05 * n, -1.6, 0.1 * n - 6], 4.0 * n, -0.5 * n) for n in range(COUNT)])
TURNS = quaternions.from_matrices(POSES[:, :3, :3])
START = 1_700_000_000
OPENGL = np.diag([1.0, -1, -1, 1])
Z_UP = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
"""From our world (y down, z forward) to one whose up is +z: its y is our z, its z is our -y."""
THEIRS = Z_UP @ POSES @ OPENGL


def table(columns: str, header: str, *, scale: int = 1, start: int = START, separator: str = " ") -> str:
    """A table with `columns` of t (times `scale`, whole where that is above 1), x y z, a b c (imaginary), w, and 0."""
    lines = [header] if header else []
    for n, (pose, turn) in enumerate(zip(POSES, TURNS, strict=True)):
        stamp = (start * 24 + n) * scale // 24 if scale > 1 else f"{start + n / 24:.6f}"
        values = dict(zip("xyzabcw0", [*pose[:3, 3], *turn, 0.0], strict=True))
        lines.append(separator.join(str(stamp) if name == "t" else f"{values[name]:.9f}" for name in columns))
    return "\n".join(lines) + "\n"


EUROC = "#timestamp [ns], p_RS_R_x [m], p_RS_R_y [m], p_RS_R_z [m], q_RS_w [], q_RS_x [], q_RS_y [], q_RS_z []"
TABLES = {
    "TUM": table("txyzabcw", "# timestamp tx ty tz qx qy qz qw"),
    "no header": table("txyzabcw", ""),
    "w first": table("txyzwabc", "# timestamp tx ty tz qw qx qy qz"),
    "header after a title": table("txyzwabc", "# ground truth\n# format: timestamp tx ty tz qw qx qy qz"),
    "EuRoC": table("txyzwabc", EUROC, scale=10**9, separator=","),
    "EuRoC with velocities": table(
        "txyzwabc000", EUROC + ", v_RS_R_x [m s^-1], v_RS_R_y [m s^-1], b_w_RS_S_x []", scale=10**9, separator=","
    ),
    "CSV without a mark": table("txyzwabc", "time,x,y,z,q_w,q_x,q_y,q_z", separator=","),
    "quaternion first": table("tabcwxyz", "timestamp;qx;qy;qz;qw;tx;ty;tz", separator=";"),
    "decimal commas": table("txyzabcw", "timestamp;tx;ty;tz;qx;qy;qz;qw", separator=";").replace(".", ","),
    "ROS": table(
        "0txyzabcw",
        "seq,%time,field.pose.position.x,field.pose.position.y,field.pose.position.z,field.pose.orientation.x,"
        "field.pose.orientation.y,field.pose.orientation.z,field.pose.orientation.w",
        scale=10**9,
        separator=",",
    ),
    "unit by name": table("txyzabcw", "timestamp_us,tx,ty,tz,qx,qy,qz,qw", scale=10**6, start=0, separator=","),
    "milliseconds since 1970": table("txyzabcw", "", scale=10**3),
    "microseconds since 1970": table("txyzabcw", "", scale=10**6),
    "nanoseconds since 1970": table("txyzabcw", "", scale=10**9),
    "nanoseconds since 0": table("txyzabcw", "", scale=10**9, start=0),
    "milliseconds since 0": table("txyzabcw", "", scale=10**3, start=0),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_read_by_what_its_header_says(name: str) -> None:
    path = load_trajectory(TABLES[name].encode())
    # Milliseconds are whole: a step of 41 or 42 is uneven by a hundredth of a frame.
    loose = "milliseconds" in name
    assert len(path) == COUNT and path.fps == pytest.approx(FPS, rel=2e-3 if loose else 1e-4)
    np.testing.assert_allclose(path.poses, POSES, atol=2e-3 if loose else 1e-5)


def test_what_was_assumed_is_told() -> None:
    assert any("qx qy qz qw" in note for note in load_trajectory(TABLES["no header"].encode()).notes)
    assert any("nanoseconds" in note for note in load_trajectory(TABLES["nanoseconds since 0"].encode()).notes)
    assert load_trajectory(TABLES["EuRoC"].encode()).notes == ()


@pytest.mark.parametrize(
    "header", ["# timestamp tx ty tz", "timestamp,tx,ty,tz,roll,pitch,yaw", "# t x y z q0 q1 q2 q3"]
)
def test_a_header_that_names_no_whole_pose_is_refused(header: str) -> None:
    with pytest.raises(ValueError, match=r"line 1: its header names no .*qw"):
        load_trajectory((header + "\n" + table("txyzabcw", "")).encode())


def swing(times: np.ndarray) -> str:
    lines = ["# timestamp tx ty tz qx qy qz qw"]
    lines += [f"{t:.6f} {np.sin(2 * np.pi * t):.9f} -1.6 0 0 0 0 1" for t in times]
    return "\n".join(lines)


def test_a_hole_in_time_leaves_the_rest_at_its_pace() -> None:
    times = np.concatenate([np.arange(72) / 24, 63 + np.arange(72) / 24])
    path = load_trajectory(swing(times).encode())
    assert path.fps == pytest.approx(24, rel=1e-4) and path.duration == pytest.approx(times[-1], abs=0.05)
    np.testing.assert_allclose(path.poses[:72, 0, 3], np.sin(2 * np.pi * times[:72]), atol=0.02)
    np.testing.assert_allclose(path.poses[-72:, 0, 3], np.sin(2 * np.pi * times[72:]), atol=0.05)
    assert any("60" in note and "line 74" in note for note in path.notes)


def test_dropped_frames_do_not_change_the_rate() -> None:
    times = np.delete(np.arange(240) / 24, [30, 31, 77, 150])
    path = load_trajectory(swing(times).encode())
    assert path.fps == pytest.approx(24, rel=1e-4) and len(path) == 240
    whole = np.sin(2 * np.pi * np.arange(240) / 24)
    np.testing.assert_allclose(path.poses[:, 0, 3], whole, atol=0.15)  # on chords where frames are missing


def test_a_hole_too_long_to_fill_is_named() -> None:
    times = np.concatenate([np.arange(48) / 24, 90_000 + np.arange(48) / 24])
    with pytest.raises(ValueError, match=r"hole of 9e\+04 s before line 50"):
        load_trajectory(swing(times).encode())


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "cp1252"])
@pytest.mark.parametrize("kind", ["TUM", "JSON"])
def test_every_usual_encoding_is_read(encoding: str, kind: str) -> None:
    text = TABLES["TUM"] if kind == "TUM" else encode_trajectory(CameraPath(POSES, FPS)).decode()
    if encoding == "cp1252" and kind == "TUM":
        text = "# r\xe9sum\xe9\n" + text
    np.testing.assert_allclose(load_trajectory(text.encode(encoding)).poses, POSES, atol=1e-5)


def keyframes(**changes: Any) -> dict[str, Any]:
    keys = [{"matrix": THEIRS[n].ravel().tolist(), "fov": 60 + n} for n in (0, 4, 8)]
    document = {"keyframes": keys, "camera_path": [], "fps": 30, "seconds": 0, "default_transition_sec": 2}
    return {**document, "camera_type": "perspective", "render_width": 1920, "render_height": 1080, **changes}


def load(document: Any, **options: Any) -> CameraPath:
    return load_trajectory(json.dumps(document).encode(), "x", **options)


def test_key_frames_alone_make_a_path_through_them() -> None:
    path = load(keyframes())
    assert path.fps == 30 and path.duration == pytest.approx(4)
    np.testing.assert_allclose(path.poses[[0, 60, 120]], POSES[[0, 4, 8]], atol=1e-6)
    assert path.size == (1920, 1080) and path.intrinsics is not None
    assert path.intrinsics[60, 1] == pytest.approx(540 / np.tan(np.radians(32)))


def test_key_frames_keep_their_own_times_and_close_where_they_say_so() -> None:
    document = keyframes(is_cycle=True)
    document["keyframes"][1] |= {"override_transition_enabled": True, "override_transition_sec": 1}
    del document["camera_path"]
    path = load(document)
    assert path.duration == pytest.approx(5)
    np.testing.assert_allclose(path.poses[[30, 90, 150]], POSES[[4, 8, 0]], atol=1e-6)


def test_older_key_frames_are_columns_in_a_text() -> None:
    document = keyframes()
    for key in document["keyframes"]:
        key["matrix"] = json.dumps(np.reshape(key["matrix"], (4, 4)).T.ravel().tolist())
    np.testing.assert_allclose(load(document).poses[60], POSES[4], atol=1e-6)


def test_a_data_sets_transforms_are_read_in_the_order_of_their_photos() -> None:
    frames = [{"file_path": f"images/im{n}.png", "transform_matrix": THEIRS[n].tolist()} for n in range(COUNT)]
    document = {"fl_x": 310.0, "cx": 438, "cy": 292, "w": 876, "h": 584.0, "frames": frames[::-1]}
    path = load(document, fps=12)
    assert path.fps == 12 and path.size == (876, 584) and path.notes == ()
    np.testing.assert_allclose(path.poses, POSES, atol=1e-6)
    np.testing.assert_allclose(path.intrinsics, np.tile([310, 310, 438, 292], (COUNT, 1)))  # type: ignore[arg-type]
    assert load(document).notes, "the rate is assumed"
    assert load({"camera_angle_x": 0.69, "frames": frames}).intrinsics is None


def test_gaussian_splatting_cameras_are_read() -> None:
    cameras = [
        {"img_name": f"{n}", "position": POSES[n, :3, 3].tolist(), "rotation": POSES[n, :3, :3].tolist()}
        | {"width": 640, "height": 360, "fx": 500.0, "fy": 501.0}
        for n in range(COUNT)
    ]
    path = load(cameras)
    np.testing.assert_allclose(path.poses, POSES, atol=1e-6)
    np.testing.assert_allclose(path.intrinsics[0], [500, 501, 320, 180])  # type: ignore[index]


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def test_archives_of_pose_estimators_are_read() -> None:
    inds = np.arange(COUNT)
    np.testing.assert_allclose(load_trajectory(npz(data=POSES.astype("f4"), inds=inds)).poses, POSES, atol=1e-5)
    np.testing.assert_allclose(load_trajectory(npz(cam_c2w=POSES)).poses, POSES)
    np.testing.assert_allclose(load_trajectory(npz(poses=POSES[:, :3])).poses, POSES)
    sparse = load_trajectory(npz(data=POSES[::2], inds=inds[::2]))
    assert len(sparse) == COUNT - 1
    np.testing.assert_allclose(sparse.poses[::2], POSES[::2], atol=1e-9)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"depth": np.zeros((2, 3))}, r"depth \[2, 3\]"),
        ({"data": np.zeros((5, 4))}, r"data \[5, 4\]"),
        ({"w2c": POSES}, "world-to-camera"),
    ],
)
def test_an_archive_without_poses_is_told_by_what_it_holds(arrays: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        load_trajectory(npz(**arrays))


@pytest.mark.parametrize("size", [None, (640, 360)])
def test_a_lens_in_shares_of_the_picture_becomes_pixels(size: tuple[int, int] | None) -> None:
    given = {} if size is None else {"size": np.array(size)}
    path = load_trajectory(npz(poses=POSES, intrinsics=np.array([0.78, 0.78 * 16 / 9, 0.5, 0.5]), **given))
    assert path.size is not None and path.intrinsics is not None
    width, height = path.size
    assert width / height == pytest.approx(16 / 9) and width > 100
    np.testing.assert_allclose(path.intrinsics[0], [0.78 * width, 0.78 * width, width / 2, height / 2], rtol=1e-6)
    document = {"fps": 24, "poses": POSES.tolist(), "width": 640, "height": 360}
    own = load({**document, "intrinsics": [[0.5, 0.9, 0.5, 0.5]] * COUNT})
    np.testing.assert_allclose(own.intrinsics[0], [320, 324, 320, 180])  # type: ignore[index]


def test_lenses_that_are_neither_are_refused() -> None:
    with pytest.raises(ValueError, match="intrinsics"):
        load_trajectory(npz(poses=POSES, intrinsics=np.array([500.0, 5.0, 0.5, 0.5])))
    mixed = np.tile([500.0, 500, 320, 180], (COUNT, 1))
    mixed[3] = [0.7, 0.7, 0.5, 0.5]
    with pytest.raises(ValueError, match=r"intrinsics\[3\]"):
        load_trajectory(npz(poses=POSES, intrinsics=mixed))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME\n1 1 0 0 0 0 0 0 1 a.png\n", "COLMAP"),
        ("https://example.org/watch\n1 2 3\n", "RealEstate10K"),
        ("1 0 0 0 0 1 0 0 0 0 1 0\n" * 3, "KITTI"),
        ('{"nodes": [], "edges": []}', "nodes"),
    ],
)
def test_neighbouring_formats_are_named(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        load_trajectory(text.encode())


@pytest.mark.parametrize("count", [18_000, MAX_POSES])
def test_the_longest_path_is_read_back_from_a_folder(tmp_path: Path, count: int) -> None:
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, 0, 3] = np.random.default_rng(0).normal(size=count)
    save_trajectory(CameraPath(poses, 24.0), tmp_path / "walk")
    np.testing.assert_array_equal(load_trajectory(tmp_path / "walk").poses, poses)
    with pytest.raises(ValueError, match=str(MAX_POSES)):
        save_trajectory(CameraPath(np.tile(np.eye(4), (MAX_POSES + 1, 1, 1)), 24.0), tmp_path / "long")
    assert not (tmp_path / "long").exists()


def packed(method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        content = io.BytesIO()
        np.save(content, POSES)
        archive.writestr("poses.npy", content.getvalue())
    return buffer.getvalue()


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_a_damaged_archive_is_refused_whatever_it_is_packed_with(method: int) -> None:
    data = packed(method)
    for place in range(30, len(data), 7):
        broken = data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :]
        try:
            load_trajectory(broken)
        except ValueError:
            continue


@pytest.mark.parametrize(
    "document",
    [
        {"camera_path": [{"camera_to_world": THEIRS[0].tolist()}], "seconds": 1, "fps": 10**400},
        {"camera_path": [{"camera_to_world": THEIRS[0].tolist()}], "seconds": 10**400},
        {"keyframes": [{"matrix": [10**400] * 16}]},
        {"keyframes": [{"matrix": THEIRS[0].tolist()}] * 2, "default_transition_sec": 10**400},
        {"frames": [{"transform_matrix": [[10**400] * 4] * 4}]},
        {"fps": 24, "poses": POSES.tolist(), "width": 64, "height": 64, "intrinsics": [[10**400] * 4] * COUNT},
        [{"rotation": [[10**400] * 3] * 3, "position": [0, 0, 0]}],
        {"poses": POSES.tolist(), "fps": 10**400},
    ],
)
def test_numbers_beyond_all_bounds_are_refused(document: Any) -> None:
    with pytest.raises(ValueError, match=r"^x: "):
        load(document)
