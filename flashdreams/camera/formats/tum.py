"""TUM trajectory text: one pose a line, `timestamp tx ty tz qx qy qz qw`.

Seconds, a camera-to-world translation and a quaternion with its real part last; lines that begin with # are comments.
The axes are taken as ours (x right, y down, z forward). Timestamps need not be even: the path is resampled to their
mean rate.
"""

from __future__ import annotations

import math

import numpy as np

from flashdreams.camera import quaternions
from flashdreams.camera.camera_path import Trajectory, check_count, check_fps
from flashdreams.camera.poses import MAX_COORDINATE, FloatArray

FIELDS = ("timestamp", "tx", "ty", "tz", "qx", "qy", "qz", "qw")
NORM_TOLERANCE = 0.02
"""How far a quaternion's length may be from 1: files with two or three decimals still pass."""
EVEN = 1e-3
"""Timestamps this share of a frame off an even grid still count as even, and the poses are kept as they are."""


def parse(text: str) -> Trajectory:
    """The trajectory of a file's text. Raises ValueError naming the line and field."""
    lines = [
        (number, line.split("#", 1)[0].replace(",", " ").split()) for number, line in enumerate(text.splitlines(), 1)
    ]
    rows = [(number, words) for number, words in lines if words]
    check_count(len(rows), "the file")
    values = np.array([_numbers(number, words) for number, words in rows])
    if len(rows) < 2:
        raise ValueError("expected at least two poses: a single one has no rate")
    _check_times(values[:, 0], [number for number, _ in rows])
    poses = np.zeros((len(rows), 4, 4))
    poses[:, :3, :3] = quaternions.to_matrices(values[:, 4:] / np.linalg.norm(values[:, 4:], axis=1, keepdims=True))
    poses[:, :3, 3] = values[:, 1:4]
    poses[:, 3, 3] = 1.0
    return _even(poses, values[:, 0])


def dump(trajectory: Trajectory) -> str:
    """The file's text, timestamps from 0."""
    turns = quaternions.from_matrices(trajectory.poses[:, :3, :3])
    rows = np.concatenate([trajectory.poses[:, :3, 3], turns], axis=1)
    lines = (
        " ".join([f"{index / trajectory.fps:.9f}", *(f"{value:.9g}" for value in row)])
        for index, row in enumerate(rows)
    )
    return "# timestamp tx ty tz qx qy qz qw\n" + "\n".join(lines) + "\n"


def _numbers(line: int, words: list[str]) -> list[float]:
    """The eight numbers of a line, checked one by one."""
    if len(words) != len(FIELDS):
        raise ValueError(f"line {line}: expected 8 numbers ({' '.join(FIELDS)}), got {len(words)} words")
    values = []
    for field, word in zip(FIELDS, words, strict=True):
        try:
            value = float(word)
        except ValueError:
            raise ValueError(f"line {line}: {field} must be a number, got {word!r:.40}") from None
        if not math.isfinite(value):
            raise ValueError(f"line {line}: {field} must be finite, got {word!r:.40}")
        if field in ("tx", "ty", "tz") and abs(value) > MAX_COORDINATE:
            raise ValueError(f"line {line}: {field} must lie within {MAX_COORDINATE:,.0f} units, got {word!r:.40}")
        values.append(value)
    length = math.hypot(*values[4:])
    if abs(length - 1) > NORM_TOLERANCE:
        raise ValueError(f"line {line}: qx qy qz qw must be a unit quaternion, got one of length {length:.3g}")
    return values


def _check_times(times: FloatArray, lines: list[int]) -> None:
    back = np.flatnonzero(np.diff(times) <= 0)
    if len(back):
        raise ValueError(f"line {lines[back[0] + 1]}: timestamp must be later than on the line before")


def _even(poses: FloatArray, times: FloatArray) -> Trajectory:
    """The poses at an even rate over the same span of time."""
    count, span = len(times), times[-1] - times[0]
    try:
        fps = check_fps(float((count - 1) / span))
    except ValueError as error:
        raise ValueError(f"{count} timestamps within {span:g} s: {error}") from None
    # Printed timestamps are rounded; a rate like 24.000001 would only force resampling on everybody later.
    if abs(fps - round(fps)) < 1e-3 * fps / count + 1e-9 * fps:
        fps = float(round(fps))
    trajectory = Trajectory(poses, fps)
    places = np.interp(np.linspace(times[0], times[-1], count), times, np.arange(count))
    if np.abs(places - np.arange(count)).max() <= EVEN:
        return trajectory
    return trajectory.sampled(places, fps)
