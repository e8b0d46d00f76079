"""Shaping a camera path: a smooth curve through key poses, speed, and easing. Every function returns a new path."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt

from flashdreams.camera import quaternions
from flashdreams.camera.camera_path import CameraPath, check_count, check_fps
from flashdreams.camera.poses import FloatArray, check_poses, relative_pose

Easing = Literal["none", "in", "out", "in-out"]
EASINGS: dict[Easing, Callable[[FloatArray], FloatArray]] = {
    "none": lambda t: t,
    "in": lambda t: t * t,
    "out": lambda t: t * (2 - t),
    "in-out": lambda t: t * t * (3 - 2 * t),
}
"""Position along the path, 0 to 1, by share of its time: `in` starts slowly, `out` ends slowly."""
LONGEST_SECONDS = 3600.0


def through_keys(keys: npt.ArrayLike, seconds: npt.ArrayLike, fps: float) -> CameraPath:
    """Return a path that is at each of the key poses `[K, 4, 4]` at its time `seconds` `[K]`, sampled at `fps`.

    Positions follow a Catmull-Rom spline with the given times as its knots; between two keys the rotation turns evenly
    along the shortest arc (SLERP). It ends at the last frame not after the last key. Raises ValueError for times that
    do not grow or a pose that is none.
    """
    poses, rate = check_poses(keys, "keys"), check_fps(fps)
    times = _check_times(seconds, len(poses))
    frames: FloatArray = np.arange(math.floor((times[-1] - times[0]) * rate + 1e-6) + 1) / rate + times[0]
    check_count(len(frames), f"{times[-1] - times[0]:g} s at {rate:g} fps")
    if len(poses) == 1:
        return CameraPath(poses, rate)
    after = np.clip(np.searchsorted(times, frames, side="right"), 1, len(times) - 1)
    share = np.clip((frames - times[after - 1]) / (times[after] - times[after - 1]), 0.0, 1.0)
    turns = quaternions.from_matrices(poses[:, :3, :3])
    path = np.zeros((len(frames), 4, 4))
    path[:, :3, :3] = quaternions.to_matrices(quaternions.slerp(turns[after - 1], turns[after], share))
    path[:, :3, 3] = _catmull_rom(poses[:, :3, 3], times, after, share)
    path[:, 3, 3] = 1.0
    return CameraPath(path, rate)


def smooth(trajectory: CameraPath, every: float) -> CameraPath:
    """Return the path smoothed over `every` seconds: a curve through poses that far apart, and the two ends.

    The length stays. Raises ValueError where `every` is not from one frame to 3600 s.
    """
    if not 1 / trajectory.fps <= every <= LONGEST_SECONDS:
        raise ValueError(f"every must lie within {1 / trajectory.fps:g} (one frame) and 3600 seconds, got {every}")
    if len(trajectory) < 3:
        return trajectory
    count = max(2, round(trajectory.duration / every) + 1)
    times = np.linspace(0.0, trajectory.duration, count)
    keys = trajectory.sampled(times * trajectory.fps, trajectory.fps)
    curve = through_keys(keys.poses, times, trajectory.fps)
    return CameraPath(curve.poses, trajectory.fps, trajectory.intrinsics, trajectory.size)


def at_speed(trajectory: CameraPath, move_speed: float, turn_rate: float) -> CameraPath:
    """Return the path at an even speed: `move_speed` units a second, at most `turn_rate` degrees a second.

    Places where the path only waited are passed without waiting. Raises ValueError for speeds not above 0 or a path
    that would become too long.
    """
    spent = seconds_between(trajectory, move_speed, turn_rate)
    times = np.concatenate([[0.0], np.cumsum(spent)])
    keep = np.concatenate([[True], spent > 0])
    if keep.sum() == 1:
        return trajectory.sampled([0.0], trajectory.fps)
    return _retimed(trajectory, np.flatnonzero(keep), times[keep])


def seconds_between(trajectory: CameraPath, move_speed: float, turn_rate: float) -> FloatArray:
    """Return seconds `[N - 1]` between poses at `move_speed` units and `turn_rate` degrees a second, whichever
    takes longer. Raises ValueError for speeds not above 0.
    """
    for name, value in (("move_speed", move_speed), ("turn_rate", turn_rate)):
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be a finite number above 0, got {value}")
    steps = relative_pose(trajectory.poses[:-1], trajectory.poses[1:])
    cosine = np.clip((np.trace(steps[:, :3, :3], axis1=1, axis2=2) - 1) / 2, -1.0, 1.0)
    spent = np.maximum(np.linalg.norm(steps[:, :3, 3], axis=1) / move_speed, np.degrees(np.arccos(cosine)) / turn_rate)
    spent[spent < 1e-6] = 0.0  # what is left of rounding where the camera rested
    return np.asarray(spent)


def faster(trajectory: CameraPath, factor: float) -> CameraPath:
    """Return the same way in `duration / factor`. Raises ValueError for a factor outside 0.05 to 20."""
    if not 0.05 <= factor <= 20:
        raise ValueError(f"factor must lie within 0.05 and 20, got {factor}")
    return _retimed(trajectory, np.arange(len(trajectory)), np.arange(len(trajectory)) / trajectory.fps / factor)


def eased(trajectory: CameraPath, easing: Easing) -> CameraPath:
    """Return the same way in the same time, setting off or coming to rest gently.

    Raises ValueError for an unknown easing.
    """
    if easing not in EASINGS:
        raise ValueError(f"easing must be one of {', '.join(EASINGS)}, got {easing!r:.40}")
    last = len(trajectory) - 1
    share = np.linspace(0.0, 1.0, last + 1) if last else np.zeros(1)
    return trajectory.sampled(EASINGS[easing](share) * last, trajectory.fps)


def _retimed(trajectory: CameraPath, indices: npt.NDArray[np.int64], times: FloatArray) -> CameraPath:
    """Return the path being at its poses `indices` at `times` `[M]`, at its own rate."""
    count = math.floor(times[-1] * trajectory.fps + 1e-6) + 1
    check_count(count, f"{times[-1]:.0f} s at {trajectory.fps:g} fps")
    return trajectory.sampled(np.interp(np.arange(count) / trajectory.fps, times, indices), trajectory.fps)


def _check_times(seconds: npt.ArrayLike, count: int) -> FloatArray:
    times = np.asarray(seconds, dtype=np.float64)
    if times.shape != (count,) or not np.isfinite(times).all():
        raise ValueError(f"seconds: expected {count} finite numbers, one per key, got shape {list(times.shape)}")
    back = np.flatnonzero(np.diff(times) <= 0)
    if len(back):
        raise ValueError(f"seconds[{back[0] + 1}] must be later than the key before")
    if times[-1] - times[0] > LONGEST_SECONDS:
        raise ValueError(f"seconds: a path may last {LONGEST_SECONDS:g} s, got {times[-1] - times[0]:g}")
    return times


def _catmull_rom(points: FloatArray, times: FloatArray, after: npt.NDArray[np.int64], share: FloatArray) -> FloatArray:
    """Return cubic Hermite curves whose velocity at a keyframe is that between its two neighbours."""
    velocity = np.empty_like(points)
    velocity[1:-1] = (points[2:] - points[:-2]) / (times[2:] - times[:-2])[:, None]
    # At the ends, so that the curve leaves and arrives as a parabola through the last three keys would.
    ends = (points[[1, -1]] - points[[0, -2]]) / (times[[1, -1]] - times[[0, -2]])[:, None]
    velocity[[0, -1]] = 2 * ends - velocity[[1, -2]] if len(points) > 2 else ends
    before, span, s = after - 1, (times[after] - times[after - 1])[:, None], share[:, None]
    return np.asarray(
        (1 + 2 * s) * (1 - s) ** 2 * points[before]
        + s * (1 - s) ** 2 * span * velocity[before]
        + s * s * (3 - 2 * s) * points[after]
        - s * s * (1 - s) * span * velocity[after]
    )
