"""Camera poses as camera-to-world matrices: building, taking apart and checking them.

Axes are OpenCV's: x right, y down, z forward. The world's up is -y. Yaw turns about the world's up axis, positive to
the right (from +z towards +x); pitch is positive looking up; roll is positive when the picture's right side dips.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

ORTHONORMAL_TOLERANCE = 1e-3
"""Largest error of R^T R against the identity: poses printed with four decimals still pass."""
MAX_COORDINATE = 1e6
"""Largest position coordinate; beyond it float32 rays have no useful precision left."""


def pose_from_yaw_pitch(position: npt.ArrayLike, yaw_deg: float, pitch_deg: float, roll_deg: float = 0.0) -> FloatArray:
    """Return camera-to-world `[4, 4]` at `position` `[3]` that looks along yaw and pitch, in degrees.

    Raises ValueError for a position of another shape or for values that are not finite.
    """
    place = np.asarray(position, dtype=np.float64)
    if place.shape != (3,):
        raise ValueError(f"position must have shape (3,), got {place.shape}")
    if not (np.isfinite(place).all() and np.isfinite([yaw_deg, pitch_deg, roll_deg]).all()):
        raise ValueError("position, yaw, pitch and roll must be finite numbers")
    (cy, cp, cr), (sy, sp, sr) = (f(np.radians([yaw_deg, pitch_deg, roll_deg])) for f in (np.cos, np.sin))
    yaw = np.array([[cy, 0.0, sy], [0.0, 1.0, 0.0], [-sy, 0.0, cy]])
    pitch = np.array([[1.0, 0.0, 0.0], [0.0, cp, -sp], [0.0, sp, cp]])
    roll = np.array([[cr, -sr, 0.0], [sr, cr, 0.0], [0.0, 0.0, 1.0]])
    pose = np.eye(4)
    pose[:3, :3] = yaw @ pitch @ roll
    pose[:3, 3] = place
    return pose


def yaw_pitch_roll_of(pose: npt.ArrayLike) -> tuple[float, float, float]:
    """Return yaw (-180 to 180), pitch (-90 to 90) and roll (-180 to 180) of a pose `[4, 4]`, in degrees."""
    rotation = np.asarray(pose, dtype=np.float64)[:3, :3]
    forward = rotation[:, 2]
    flat = float(np.hypot(forward[0], forward[2]))
    pitch = float(np.arctan2(-forward[1], flat))
    if flat > 1e-9:
        yaw = float(np.arctan2(forward[0], forward[2]))
        roll = float(np.arctan2(rotation[1, 0], rotation[1, 1]))
    else:  # straight up or down: yaw and roll turn the same way, so all of it counts as yaw
        yaw, roll = float(np.arctan2(-rotation[2, 0], rotation[0, 0])), 0.0
    return float(np.degrees(yaw)), float(np.degrees(pitch)), float(np.degrees(roll))


def yaw_pitch_of(pose: npt.ArrayLike) -> tuple[float, float]:
    """Return yaw and pitch in degrees of a pose `[4, 4]`; a roll is left out."""
    return yaw_pitch_roll_of(pose)[:2]


def relative_pose(a: npt.ArrayLike, b: npt.ArrayLike) -> FloatArray:
    """Return `inv(a) @ b`: pose `b` as seen from camera `a`. Both `[..., 4, 4]`, leading dimensions broadcast."""
    base, other = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return np.asarray(invert(base) @ other)


def invert(poses: FloatArray) -> FloatArray:
    """Return inverse of rigid poses `[..., 4, 4]` by transposing their rotation."""
    rotation = np.swapaxes(poses[..., :3, :3], -1, -2)
    inverse = np.zeros_like(poses)
    inverse[..., :3, :3] = rotation
    inverse[..., :3, 3:] = -rotation @ poses[..., :3, 3:]
    inverse[..., 3, 3] = 1.0
    return inverse


def check_poses(array: npt.ArrayLike, name: str) -> FloatArray:
    """Return the poses as float64 `[N, 4, 4]`, N >= 1, or ValueError that names `name`, the index and the fault.

    Accepted are finite matrices with last row (0, 0, 0, 1), an orthonormal right-handed rotation and coordinates within
    a million units.
    """
    poses = _stack_of_matrices(array, name)
    finite = np.isfinite(poses).all(axis=(1, 2))
    _refuse(~finite, name, "every number must be finite")
    last_row = np.abs(poses[:, 3] - (0.0, 0.0, 0.0, 1.0)).max(axis=1)
    _refuse(last_row > 1e-6, name, "the last row must be 0 0 0 1")
    far = (np.abs(poses[:, :3, 3]) > MAX_COORDINATE).any(axis=1)
    _refuse(far, name, f"the position must lie within {MAX_COORDINATE:,.0f} units")
    _check_rotations(poses[:, :3, :3], name)
    return poses


def _refuse(wrong: npt.ArrayLike, name: str, sentence: str) -> None:
    """Raise ValueError naming the first index where `wrong` `[N]` holds."""
    indices = np.flatnonzero(wrong)
    if len(indices):
        raise ValueError(f"{name}[{indices[0]}]: {sentence}")


def _stack_of_matrices(array: npt.ArrayLike, name: str) -> FloatArray:
    """Return Float64 `[N, 4, 4]`, or ValueError naming the first entry that is no 4x4 matrix of numbers."""
    try:
        poses = np.asarray(array, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        poses = None
    if poses is not None and poses.ndim == 3 and poses.shape[1:] == (4, 4) and len(poses):
        return poses
    for index, entry in enumerate(array if isinstance(array, (list, tuple)) else ()):
        try:
            shape = np.asarray(entry, dtype=np.float64).shape
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"{name}[{index}]: expected a 4x4 matrix of numbers") from None
        if shape != (4, 4):
            raise ValueError(f"{name}[{index}]: expected a 4x4 matrix of numbers, got shape {list(shape)}")
    got = "something else" if poses is None else f"shape {list(poses.shape)}"
    raise ValueError(f"{name}: expected one or more 4x4 matrices of numbers (shape [N, 4, 4]), got {got}")


def _check_rotations(rotations: FloatArray, name: str) -> None:
    """Raise ValueError naming the first of `[N, 3, 3]` that is no proper rotation."""
    bounded = np.asarray((np.abs(rotations) <= 2.0).all(axis=(1, 2)))  # keeps the products below from overflowing
    safe: FloatArray = np.where(bounded[:, None, None], rotations, 0.0)
    error: FloatArray = np.abs(np.swapaxes(safe, 1, 2) @ safe - np.eye(3)).max(axis=(1, 2))
    sentence = "the upper left 3x3 must be a rotation (orthonormal columns, no scale)"
    _refuse(error > ORTHONORMAL_TOLERANCE, name, sentence)
    _refuse(np.linalg.det(safe) < 0, name, "the rotation is mirrored, its determinant must be +1")


def check_pose(array: npt.ArrayLike, name: str) -> FloatArray:
    """Return one pose as float64 `[4, 4]`, checked as `check_poses` does."""
    try:
        return check_poses([array], name)[0]  # type: ignore[arg-type]
    except ValueError as error:
        raise ValueError(str(error).replace(f"{name}[0]", name, 1)) from None
