"""Intrinsics of files: in pixels, or as shares of the picture, which are told apart and turned into pixels."""

from __future__ import annotations

import numpy as np

from flashdreams.camera.poses import FloatArray

MOST_SHARE = 2.0
"""A principal point within so many units of the corner is a share of the picture: no picture is 4 pixels wide."""
ASPECTS = (0.3, 4.0)
"""Width over height that shares may imply."""
SHARES_HEIGHT = 720
"""Height of the picture that shares are turned into where the file names none."""


def in_pixels(intrinsics: FloatArray, size: tuple[int, int] | None) -> tuple[FloatArray, tuple[int, int]]:
    """Return intrinsics `[N, 4]` in pixels and the picture's width and height.

    `size` is the file's, None where it names none: then the principal point is taken as the picture's middle. Focal
    lengths and principal points that are shares of the picture are multiplied; without `size` their pixels are taken
    as square. Raises ValueError where shares imply no picture.
    """
    centres = intrinsics[:, 2:]
    small = np.asarray((np.abs(centres) <= MOST_SHARE).all(axis=1))
    if not small.any() or (size is not None and max(size) <= 2 * MOST_SHARE):
        if size is None:
            width, height = np.clip(np.round(2 * centres[0]), 1, 65536)
            size = int(width), int(height)
        return intrinsics, size
    if not small.all():
        row = int(np.flatnonzero(small != small[0])[0])
        raise ValueError(f"intrinsics[{row}]: some principal points are in pixels and some are shares of the picture")
    if size is None:
        fx, fy = float(intrinsics[0, 0]), float(intrinsics[0, 1])
        if not (fx > 0 and fy > 0 and ASPECTS[0] <= fy / fx <= ASPECTS[1]):
            raise ValueError(
                "intrinsics: fx, fy, cx, cy look like shares of the picture and imply no size of it: give pixels"
            )
        size = round(SHARES_HEIGHT * fy / fx), SHARES_HEIGHT
    elif (intrinsics[:, :2] > 50).any():
        raise ValueError("intrinsics: fx and fy are in pixels but cx and cy are not: give all four in pixels")
    return intrinsics * np.array([*size, *size], dtype=np.float64), size
