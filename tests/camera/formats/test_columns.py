"""Tables of poses: columns and units by the header, and holes in time."""

from __future__ import annotations

import numpy as np
import pytest

from flashdreams.camera import quaternions
from flashdreams.camera.poses import pose_from_yaw_pitch
from flashdreams.camera.trajectory import (
    load_trajectory,
)

COUNT, FPS = 12, 24.0
POSES = np.stack([pose_from_yaw_pitch([0.05 * n, -1.6, 0.1 * n - 6], 4.0 * n, -0.5 * n) for n in range(COUNT)])
TURNS = quaternions.from_matrices(POSES[:, :3, :3])
START = 1_700_000_000


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
