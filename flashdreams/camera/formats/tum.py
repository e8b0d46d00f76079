"""TUM trajectory text: one pose a line, `timestamp tx ty tz qx qy qz qw`, and the files that look like it.

A camera-to-world translation and a unit quaternion with its axes taken as ours (x right, y down, z forward). A header
(a comment, or the first line of a CSV file) that names its columns decides which is which, and in which unit the
timestamps are; without one the order above is taken. Timestamps need not be even: the path is resampled to the rate
of its usual step, by its timestamps.
"""

from __future__ import annotations

import math

import numpy as np

from flashdreams.camera import quaternions
from flashdreams.camera.camera_path import MAX_POSES, CameraPath, check_count, check_fps
from flashdreams.camera.formats.columns import FIELDS, Columns, columns_of, seconds_of, words_of
from flashdreams.camera.poses import MAX_COORDINATE, FloatArray

NORM_TOLERANCE = 0.02
"""Accepted distance of a quaternion's length from 1: files with two or three decimals pass."""
EVEN = 1e-3
"""Timestamps this share of a frame off an even grid still count as even, and the poses are kept as they are."""
USUAL_STEP = 1.5
"""Steps longer than this many median steps do not count for the rate: poses are missing there."""
HOLE_STEPS = 5.0
"""A step longer than this many median steps is reported as a hole."""


def parse(text: str) -> CameraPath:
    """Return the trajectory of a file's text. Raises ValueError naming the line and field."""
    lines = text.splitlines()
    columns = columns_of(lines)
    rows = [(number, words) for number, line in enumerate(lines, 1) if (words := words_of(line))]
    if columns.is_first_row:
        rows = rows[1:]
    check_count(len(rows), "the file")
    values = np.array([_numbers(number, words, columns) for number, words in rows])
    if len(rows) < 2:
        raise ValueError("expected at least two poses: a single one has no rate")
    numbers = [number for number, _ in rows]
    times, unit_note = seconds_of([words[columns.places[0]] for _, words in rows], columns.unit)
    _check_times(times, numbers)
    poses = np.zeros((len(rows), 4, 4))
    poses[:, :3, :3] = quaternions.to_matrices(values[:, 3:] / np.linalg.norm(values[:, 3:], axis=1, keepdims=True))
    poses[:, :3, 3] = values[:, :3]
    poses[:, 3, 3] = 1.0
    notes = [] if columns.named else [f"no header names the columns: taken as {' '.join(FIELDS)}"]
    notes += [unit_note] if unit_note else []
    return _even(poses, times, numbers, notes)


def dump(trajectory: CameraPath) -> str:
    """Return the file's text, timestamps from 0."""
    turns = quaternions.from_matrices(trajectory.poses[:, :3, :3])
    rows = np.concatenate([trajectory.poses[:, :3, 3], turns], axis=1)
    lines = (
        " ".join([f"{index / trajectory.fps:.9f}", *(f"{value:.9g}" for value in row)])
        for index, row in enumerate(rows)
    )
    return "# timestamp tx ty tz qx qy qz qw\n" + "\n".join(lines) + "\n"


def _numbers(line: int, words: list[str], columns: Columns) -> list[float]:
    """Return the seven numbers of a line's pose, checked one by one."""
    if len(words) != columns.count:
        if columns.named:
            raise ValueError(f"line {line}: its header names {columns.count} columns, got {len(words)} words")
        raise ValueError(f"line {line}: expected 8 numbers ({' '.join(FIELDS)}), got {len(words)} words")
    values = []
    for field, place in zip(FIELDS, columns.places, strict=True):
        word = words[place]
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
    return values[1:]


def _check_times(times: FloatArray, lines: list[int]) -> None:
    back = np.flatnonzero(np.diff(times) <= 0)
    if len(back):
        raise ValueError(f"line {lines[back[0] + 1]}: timestamp must be later than on the line before")


def _even(poses: FloatArray, times: FloatArray, lines: list[int], notes: list[str]) -> CameraPath:
    """Return the poses at an even rate over the same span of time."""
    count, span = len(times), times[-1] - times[0]
    steps = np.diff(times)
    median = float(np.median(steps))
    usual = steps <= USUAL_STEP * median
    holes = np.flatnonzero(steps > HOLE_STEPS * median)
    notes = notes + [f"a hole of {steps[hole]:.3g} s before line {lines[hole + 1]}" for hole in holes[:3]]
    try:
        fps = check_fps(1 / float(steps[usual].mean()))
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{count} timestamps within {span:g} s: {error}") from None
    # Printed timestamps are rounded; a rate like 24.000001 would only force resampling on everybody later.
    slack = 1e-3 / count + 1e-9 if usual.all() else 2e-5  # resampled below in any case
    if abs(fps - round(fps)) < slack * fps:
        fps = float(round(fps))
    if usual.all():
        trajectory = CameraPath(poses, fps, notes=tuple(notes))
        places = np.interp(np.linspace(times[0], times[-1], count), times, np.arange(count))
        if np.abs(places - np.arange(count)).max() <= EVEN:
            return trajectory
        return trajectory.sampled(places, fps)
    wanted = math.floor(span * fps + 0.05) + 1
    if wanted > MAX_POSES:
        where = f": {notes[-1]}" if len(holes) else ""
        raise ValueError(f"{span:g} s at {fps:g} poses a second make {wanted} poses, accepted are {MAX_POSES}{where}")
    places = np.interp(times[0] + np.arange(wanted) / fps, times, np.arange(count))
    return CameraPath(poses, fps, notes=tuple(notes)).sampled(places, fps)
