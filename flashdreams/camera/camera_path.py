"""A camera path: poses at an even rate, with resampling and re-anchoring."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from flashdreams.camera import quaternions
from flashdreams.camera.frame_input import FrameInput
from flashdreams.camera.poses import FloatArray, check_pose, check_poses, yaw_pitch_of

MAX_POSES = 20_000
"""Poses that a trajectory may hold: fourteen minutes at 24 frames a second."""
MAX_RESAMPLED = 200_000
"""Poses that resampling may make."""
FPS_RANGE = (0.01, 1000.0)
"""Accepted rates in frames per second."""


@dataclass(frozen=True, eq=False)
class CameraPath:
    """Camera-to-world poses at an even rate. Raises ValueError naming the field or index that is wrong."""

    poses: FloatArray
    """`[N, 4, 4]`, axes as in `flashdreams.camera.poses`."""
    fps: float
    """Poses per second."""
    intrinsics: FloatArray | None = None
    """`[N, 4]`: fx, fy, cx, cy in pixels of `size`; None where the file says nothing about them."""
    size: tuple[int, int] | None = None
    """Width and height of the picture that the intrinsics belong to."""
    notes: tuple[str, ...] = ()
    """Remarks of the reader of a file: holes in time, units and orders that it had to assume."""
    inputs: tuple[FrameInput, ...] = ()
    """The action track: the input of every pose's frame; empty where the path has none."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "poses", check_poses(self.poses, "poses"))
        object.__setattr__(self, "fps", check_fps(self.fps))
        if self.intrinsics is not None:
            object.__setattr__(self, "intrinsics", _check_intrinsics(self.intrinsics, len(self.poses)))
            if self.size is None:
                raise ValueError("intrinsics need width and height, the size of the picture they belong to")
        if self.inputs and len(self.inputs) != len(self.poses):
            raise ValueError(f"inputs: expected {len(self.poses)} frames, one per pose, got {len(self.inputs)}")
        if self.size is not None and not all(isinstance(side, int) and 1 <= side <= 65536 for side in self.size):
            raise ValueError(f"width and height must be whole numbers from 1 to 65536, got {self.size}")

    def __len__(self) -> int:
        return len(self.poses)

    @property
    def duration(self) -> float:
        """Seconds from the first pose to the last."""
        return (len(self.poses) - 1) / self.fps

    def resample(self, fps: float) -> CameraPath:
        """Return the path at another rate: positions and intrinsics interpolated linearly, rotations by slerp.

        The first pose stays; the last new one lies at most one new frame before the old end. Raises ValueError for a
        rate outside 0.01 to 1000 or for a result of more than 200,000 poses.
        """
        rate = check_fps(fps)
        if rate == self.fps:
            return self
        count = math.floor(self.duration * rate + 1e-6) + 1
        if count > MAX_RESAMPLED:
            raise ValueError(f"{self.duration:.0f} s at {rate:g} fps make {count} poses, accepted are {MAX_RESAMPLED}")
        return self.sampled(np.arange(count) * (self.fps / rate), rate)

    def sampled(self, places: npt.ArrayLike, fps: float) -> CameraPath:
        """Return the path at `places` `[M]`, given as fractional indices, to be played at `fps`."""
        where: FloatArray = np.clip(np.asarray(places, dtype=np.float64), 0.0, len(self.poses) - 1.0)
        before = np.floor(where).astype(np.int64)
        after = np.minimum(before + 1, len(self.poses) - 1)
        share = where - before
        poses = np.zeros((len(where), 4, 4))
        turns = quaternions.from_matrices(self.poses[:, :3, :3])
        poses[:, :3, :3] = quaternions.to_matrices(quaternions.slerp(turns[before], turns[after], share))
        poses[:, :3, 3] = _between(self.poses[:, :3, 3], before, after, share)
        poses[:, 3, 3] = 1.0
        intrinsics = None if self.intrinsics is None else _between(self.intrinsics, before, after, share)
        # Motion is per frame, so that a frame of another length has another share of it.
        inputs = tuple(self.inputs[index].scaled(self.fps / fps) for index in before) if self.inputs else ()
        return CameraPath(poses, fps, intrinsics, self.size, self.notes, inputs)

    def starting_at(self, pose: npt.ArrayLike) -> CameraPath:
        """Return the path moved and turned about the vertical so that it begins at `pose` `[4, 4]` with its heading.

        Pitch, roll and shape stay as they are. For files that were made in another world's coordinates.
        """
        target = check_pose(pose, "pose")
        turn = math.radians(yaw_pitch_of(target)[0] - yaw_pitch_of(self.poses[0])[0])
        cos, sin = math.cos(turn), math.sin(turn)
        move = np.array([[cos, 0.0, sin, 0.0], [0.0, 1.0, 0.0, 0.0], [-sin, 0.0, cos, 0.0], [0.0, 0.0, 0.0, 1.0]])
        move[:3, 3] = target[:3, 3] - move[:3, :3] @ self.poses[0, :3, 3]
        return replace(self, poses=move @ self.poses)


def check_fps(fps: object) -> float:
    """Return the rate as a float, or ValueError."""
    low, high = FPS_RANGE
    if isinstance(fps, bool) or not isinstance(fps, (int, float)) or not low <= fps <= high:
        raise ValueError(f"fps must be a number from {low:g} to {high:g}, got {fps!r}")
    return float(fps)


def check_count(count: int, name: str) -> None:
    """Raise ValueError where a trajectory would hold no pose or too many."""
    if not 1 <= count <= MAX_POSES:
        raise ValueError(f"{name}: expected 1 to {MAX_POSES} poses, got {count}")


def _check_intrinsics(values: npt.ArrayLike, count: int) -> FloatArray:
    try:
        intrinsics = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("intrinsics: expected rows of four numbers (fx, fy, cx, cy)") from None
    if intrinsics.shape != (count, 4):
        raise ValueError(f"intrinsics: expected shape {[count, 4]}, one row per pose, got {list(intrinsics.shape)}")
    wrong = ~(np.isfinite(intrinsics).all(axis=1) & (intrinsics[:, :2] > 0).all(axis=1))
    if wrong.any():
        raise ValueError(f"intrinsics[{int(wrong.argmax())}]: every number must be finite, fx and fy above 0")
    return intrinsics


def _between(
    values: FloatArray, before: npt.NDArray[np.int64], after: npt.NDArray[np.int64], share: FloatArray
) -> FloatArray:
    """Return rows of `values` `[N, C]` interpolated linearly, `[M, C]`."""
    return np.asarray(values[before] + (values[after] - values[before]) * share[:, None])
