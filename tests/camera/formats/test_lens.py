"""Lenses in pixels and in shares of the picture."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest

from flashdreams.camera.poses import pose_from_yaw_pitch
from flashdreams.camera.trajectory import (
    CameraPath,
    load_trajectory,
)

COUNT = 12
POSES = np.stack([pose_from_yaw_pitch([0.05 * n, -1.6, 0.1 * n - 6], 4.0 * n, -0.5 * n) for n in range(COUNT)])


def load(document: Any, **options: Any) -> CameraPath:
    return load_trajectory(json.dumps(document).encode(), "x", **options)


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


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
