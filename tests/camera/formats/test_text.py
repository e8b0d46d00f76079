"""Encodings of text, and formats that are named instead of read."""

from __future__ import annotations

import numpy as np
import pytest

from flashdreams.camera import quaternions
from flashdreams.camera.poses import pose_from_yaw_pitch
from flashdreams.camera.trajectory import (
    CameraPath,
    encode_trajectory,
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


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "cp1252"])
@pytest.mark.parametrize("kind", ["TUM", "JSON"])
def test_every_usual_encoding_is_read(encoding: str, kind: str) -> None:
    text = TABLES["TUM"] if kind == "TUM" else encode_trajectory(CameraPath(POSES, FPS)).decode()
    if encoding == "cp1252" and kind == "TUM":
        text = "# r\xe9sum\xe9\n" + text
    np.testing.assert_allclose(load_trajectory(text.encode(encoding)).poses, POSES, atol=1e-5)


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
