"""A shot: key poses and how fast the camera goes through them make a camera path; and of a path, its key poses."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flashdreams.camera.camera_path import FPS_RANGE, MAX_POSES, CameraPath, check_count, check_fps
from flashdreams.camera.poses import FloatArray, check_poses, relative_pose
from flashdreams.camera.splines import EASINGS, LONGEST_SECONDS, Easing, seconds_between, through_keys

FINE = 4
"""The curve is sampled this much finer than it is played, before its pace is laid over it."""
SHORTEST_GAP = 0.01
"""Seconds between two keys at the same pose: a curve's times must grow."""
MAX_KEYS = 200


@dataclass(frozen=True)
class Pace:
    """Pace of a camera through its keyframes: the first of `times` and `seconds` that is given counts."""

    move_speed: float = 1.5
    """Units a second; above 0."""
    turn_rate: float = 40.0
    """Degrees a second that no turn exceeds; above 0."""
    seconds: float | None = None
    """The whole length, in place of the speed; its proportions stay."""
    times: npt.ArrayLike | None = None
    """Time of each keyframe `[K]`, growing seconds from 0."""
    easing: Easing = "none"
    """See `shaping.EASINGS`."""


def shot_through(keys: npt.ArrayLike, pace: Pace, fps: float, *, closed: bool = False) -> tuple[CameraPath, FloatArray]:
    """Return the path through key poses `[K, 4, 4]` and when it is at each of them, `[K]` seconds.

    The curve is that of `shaping.through_keys`; it begins at the first key and its last frame is the last key, or the
    first again where it is `closed`: lengths are rounded up to whole frames. Raises ValueError naming what is wrong.
    """
    poses, rate = check_poses(keys, "keys"), check_fps(fps)
    if pace.easing not in EASINGS:
        raise ValueError(f"easing must be one of {', '.join(EASINGS)}, got {pace.easing!r:.40}")
    if len(poses) > MAX_KEYS:
        raise ValueError(f"keys: a path may have {MAX_KEYS} of them, got {len(poses)}")
    closed = closed and len(poses) > 1
    ring = np.concatenate([poses, poses[:1]]) if closed else poses
    if len(ring) == 1:
        return CameraPath(ring, rate), np.zeros(1)
    knots = _knots(ring, pace, closed)
    curve = _closed_curve(ring, knots, rate) if closed else _curve(ring, knots, rate)
    reached = np.linspace(0.0, knots[-1], len(curve))
    if pace.times is None:
        reached = np.concatenate([[0.0], np.cumsum(seconds_between(curve, pace.move_speed, pace.turn_rate))])
    if reached[-1] <= 0:
        return curve.sampled([0.0], rate), np.zeros(len(poses))
    return _played(curve, reached, knots[: len(poses)], pace, rate)


def keys_of(path: CameraPath, distance: float, degrees: float, most: int = 60) -> tuple[FloatArray, float, float]:
    """Return times `[K]` at which poses of `path` are enough to draw it again: the keys of a walk or of a file.

    A key is added where the curve through those before is furthest off, until it is nowhere further off than `distance`
    units and `degrees`, or there are `most`. Returns the times, and how far off it still is in units and degrees.
    Raises ValueError for tolerances not above 0 or `most` outside 2 to 200.
    """
    if not (distance > 0 and degrees > 0):
        raise ValueError(f"distance and degrees must be above 0, got {distance} and {degrees}")
    if not 2 <= most <= MAX_KEYS:
        raise ValueError(f"most must lie within 2 and {MAX_KEYS}, got {most}")
    if len(path) == 1:
        return np.zeros(1), 0.0, 0.0
    chosen = [0, len(path) - 1]
    while True:
        times = np.array(chosen) / path.fps
        drawn = through_keys(path.poses[chosen], times, path.fps)
        off, turned = _apart(drawn.poses, path.poses)
        worst = np.maximum(off / distance, turned / degrees)
        if worst.max() <= 1 or len(chosen) >= min(most, len(path)):
            return times, float(off.max()), float(turned.max())
        worst[chosen] = 0.0
        chosen = sorted([*chosen, int(worst.argmax())])


def _knots(ring: FloatArray, pace: Pace, closed: bool) -> FloatArray:
    """Return growing times `[K]` from 0 for the keys, which give the curve its shape."""
    straight = seconds_between(CameraPath(ring, 1.0), pace.move_speed, pace.turn_rate)
    steps = np.maximum(straight, SHORTEST_GAP)
    if pace.times is not None:
        times = np.asarray(pace.times, dtype=np.float64)
        given = len(ring) - closed
        if times.shape != (given,) or not np.isfinite(times).all():
            raise ValueError(f"times: expected {given} finite numbers, one per key")
        back = np.flatnonzero(np.diff(times) <= 0)
        if len(back):
            raise ValueError(f"times[{back[0] + 1}] must be later than the key before")
        steps[: given - 1] = np.diff(times)
    knots = np.concatenate([[0.0], np.cumsum(steps)])
    if knots[-1] > LONGEST_SECONDS:
        raise ValueError(f"the path would last {knots[-1]:.0f} s; it may last {LONGEST_SECONDS:g} s")
    return knots


def _curve(ring: FloatArray, knots: FloatArray, rate: float) -> CameraPath:
    """Return the curve at a rate that has a sample at its very end."""
    span = knots[-1]
    count = min(math.ceil(span * rate) * FINE, MAX_POSES - 1)
    return through_keys(ring, knots, min(count / span, FPS_RANGE[1]))


def _closed_curve(ring: FloatArray, knots: FloatArray, rate: float) -> CameraPath:
    """Return the closed curve without a kink: it is extended by one keyframe at both ends, and cut there."""
    longer = np.concatenate([ring[-2:-1], ring, ring[1:2]])
    before, after = knots[-1] - knots[-2], knots[1]
    times = np.concatenate([[0.0], knots + before, [knots[-1] + before + after]])
    curve = _curve(longer, times, rate)
    count = max(2, round(len(curve) * knots[-1] / times[-1]))
    return curve.sampled(np.linspace(before, before + knots[-1], count) * curve.fps, curve.fps)


def _played(
    curve: CameraPath, reached: FloatArray, knots: FloatArray, pace: Pace, rate: float
) -> tuple[CameraPath, FloatArray]:
    """Return the curve, each sample reached at its time `reached` `[N]`, as frames.

    Keys lie at `knots` on the even curve.
    """
    total = reached[-1] if pace.seconds is None else pace.seconds
    if not 0 < total <= LONGEST_SECONDS:
        raise ValueError(f"seconds must lie above 0 and within {LONGEST_SECONDS:g}, got {total:g}")
    frames = max(1, math.ceil(total * rate - 1e-6))
    check_count(frames + 1, f"{total:.0f} s at {rate:g} fps")
    shares = np.linspace(0.0, 1.0, frames + 1)
    progress = EASINGS[pace.easing](shares) * reached[-1]
    samples = np.arange(len(curve))
    path = curve.sampled(np.interp(progress, reached, samples), rate)
    at_keys = np.interp(knots * curve.fps, samples, reached)
    return path, np.interp(at_keys, progress, shares * frames / rate)


def _apart(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the distances between poses `[N, 4, 4]`: units and degrees, `[N]` each."""
    turn = relative_pose(a, b)[:, :3, :3]
    # From the chord between the rotations: unlike the trace it keeps its digits near zero.
    chord = np.linalg.norm(turn - np.eye(3), axis=(1, 2))
    degrees = np.degrees(2 * np.arcsin(np.clip(chord / math.sqrt(8), 0.0, 1.0)))
    return np.linalg.norm(a[:, :3, 3] - b[:, :3, 3], axis=1), degrees
