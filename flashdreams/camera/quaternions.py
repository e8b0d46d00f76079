"""Unit quaternions in (x, y, z, w) order, for reading rotations and for turning between them evenly."""

from __future__ import annotations

import numpy as np

from flashdreams.camera.poses import FloatArray


def from_matrices(rotations: FloatArray) -> FloatArray:
    """Return unit quaternions `[N, 4]` of rotations `[N, 3, 3]`; slight errors of orthonormality are evened out.

    All four ways to read the quaternion off the matrix are formed, and of each matrix the one with the largest divisor
    is kept: no way loses digits at every angle.
    """
    r = rotations
    xx, yy, zz = r[:, 0, 0], r[:, 1, 1], r[:, 2, 2]
    x_y, x_z, y_z = r[:, 1, 0] + r[:, 0, 1], r[:, 0, 2] + r[:, 2, 0], r[:, 2, 1] + r[:, 1, 2]
    wx, wy, wz = r[:, 2, 1] - r[:, 1, 2], r[:, 0, 2] - r[:, 2, 0], r[:, 1, 0] - r[:, 0, 1]
    ways = np.stack(
        [
            np.stack([1 + xx - yy - zz, x_y, x_z, wx], axis=1),
            np.stack([x_y, 1 - xx + yy - zz, y_z, wy], axis=1),
            np.stack([x_z, y_z, 1 - xx - yy + zz, wz], axis=1),
            np.stack([wx, wy, wz, 1 + xx + yy + zz], axis=1),
        ],
        axis=1,
    )
    best = np.argmax(np.einsum("nii->ni", ways), axis=1)
    chosen = ways[np.arange(len(r)), best]
    return np.asarray(chosen / np.linalg.norm(chosen, axis=1, keepdims=True))


def to_matrices(quaternions: FloatArray) -> FloatArray:
    """Return rotations `[N, 3, 3]` of unit quaternions `[N, 4]`."""
    x, y, z, w = quaternions.T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=1) for row in rows], axis=1)


def slerp(start: FloatArray, end: FloatArray, share: FloatArray) -> FloatArray:
    """Return unit quaternions `[N, 4]` at a `share` `[N]` (0 to 1) from `start` to `end`, at even speed, the short way
    round.
    """
    cosine = np.sum(start * end, axis=1)
    end = np.where(cosine[:, None] < 0, -end, end)  # q and -q are the same rotation; the nearer one is the short way
    angle = np.arccos(np.clip(np.abs(cosine), 0.0, 1.0))
    sine = np.sin(angle)
    near = sine < 1e-6  # there the arc is a straight line to within rounding
    divisor = np.where(near, 1.0, sine)
    weight_start = np.where(near, 1 - share, np.sin((1 - share) * angle) / divisor)
    weight_end = np.where(near, share, np.sin(share * angle) / divisor)
    mixed = weight_start[:, None] * start + weight_end[:, None] * end
    return np.asarray(mixed / np.linalg.norm(mixed, axis=1, keepdims=True))
