"""NumPy archives of other programs, and damaged ones."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np
import pytest

from flashdreams.camera.poses import pose_from_yaw_pitch
from flashdreams.camera.trajectory import (
    load_trajectory,
)

COUNT = 12
POSES = np.stack([pose_from_yaw_pitch([0.05 * n, -1.6, 0.1 * n - 6], 4.0 * n, -0.5 * n) for n in range(COUNT)])


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
