"""Live camera: keys, looks and paths as they arrive, sampled chunk by chunk."""

from __future__ import annotations

import itertools
import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flashdreams.camera.camera_path import CameraPath
from flashdreams.camera.keys import GROUPS, KEYS, Group, HeldKeys, rates_of
from flashdreams.camera.kinematics import CameraMotion, Rates, View
from flashdreams.camera.poses import FloatArray, check_poses

Constrain = Callable[[FloatArray, FloatArray], FloatArray]
"""Of the previous and the wanted position `[3]`, the position that is allowed."""

MAX_LOOK = 3600.0
"""Degrees that one look may turn."""
MAX_TAPS = 64
"""Taps kept between two chunks; older ones could not act within a chunk anyway."""


@dataclass(frozen=True)
class CameraState:
    """State to rewind to: the camera's view and the rest of its path. Keys held are not part of it."""

    view: View
    path: FloatArray | None
    path_index: int


@dataclass(frozen=True)
class _Span:
    """Constant rates from `start` to `end`, seconds into a chunk."""

    start: float
    end: float
    rates: Rates


class LiveCamera:
    """A camera that a person drives.

    Keys held when a chunk is sampled act over the whole chunk; keys pressed and released between two samples act for
    as long as they were held, at least one frame and together at most the chunk; looks are spread over the chunk. Safe
    to call from several threads.
    """

    def __init__(
        self, start_pose: npt.ArrayLike, motion: CameraMotion, fps: float, constrain: Constrain | None = None
    ) -> None:
        """Start at `start_pose` `[4, 4]` with frames at `fps`; `constrain` keeps every frame's position allowed.

        Raises ValueError for a bad pose or fps.
        """
        if not (math.isfinite(fps) and fps > 0):
            raise ValueError(f"fps must be a finite number above 0, got {fps}")
        self.motion = motion
        self.fps = float(fps)
        self._constrain = constrain
        self._lock = threading.RLock()
        self._view = View.of(start_pose, motion.pitch_limit)
        self._held = HeldKeys()
        self._fresh: dict[str, float] = {}  # held keys that no chunk has seen yet: when they were pressed
        self._taps: deque[tuple[str, float]] = deque(maxlen=MAX_TAPS)  # pressed and released since the last chunk
        self._look = (0.0, 0.0)
        self._path: FloatArray | None = None
        self._path_index = 0

    @property
    def pose(self) -> FloatArray:
        """Camera-to-world `[4, 4]` of the newest frame sampled."""
        with self._lock:
            return self._view.pose()

    @property
    def held(self) -> tuple[str, ...]:
        """The keys held now, the one pressed last at the end."""
        with self._lock:
            return tuple(self._held.order)

    @property
    def moving(self) -> bool:
        """True if anything drives the next chunk: a held key, a pending tap or look, or a path."""
        with self._lock:
            return bool(self._held.order or self._taps or any(self._look) or self._path is not None)

    @property
    def follows_path(self) -> bool:
        """True while the camera follows a path."""
        with self._lock:
            return self._path is not None

    def keys(self, down: Sequence[str], at: float) -> None:
        """Take the full list of keys held now; `at` in seconds of a monotonic clock. A new key cancels a path.

        Raises ValueError for an unknown key, naming it and the accepted ones, and then changes nothing.
        """
        _check_time(at)
        with self._lock:
            pressed, released = self._held.update(down)
            for key in released:
                if key in self._fresh:
                    self._taps.append((key, max(at - self._fresh.pop(key), 0.0)))
            self._fresh.update(dict.fromkeys(pressed, at))
            if pressed:
                self._drop_path()

    def release_all(self, at: float) -> None:
        """Return all keys are up: the window lost its focus or its connection."""
        self.keys((), at)

    def look(self, yaw: float, pitch: float) -> None:
        """Turn by degrees (yaw to the right, pitch upwards), added up until the next chunk; ignored along a path.

        Raises ValueError beyond 3600 degrees or for numbers that are not finite.
        """
        if not (abs(yaw) <= MAX_LOOK and abs(pitch) <= MAX_LOOK):
            raise ValueError(f"look: yaw and pitch must lie within {MAX_LOOK:g} degrees, got {yaw} and {pitch}")
        scale = self.motion.look_sensitivity
        with self._lock:
            if self._path is None:
                self._look = (self._look[0] + yaw * scale, self._look[1] + pitch * scale)

    def path(self, poses: npt.ArrayLike, fps: float) -> None:
        """Follow poses `[N, 4, 4]` given at `fps`, from the next frame on; replaces a path, pending taps and looks.

        Raises ValueError naming the pose that is not one.
        """
        followed = CameraPath(check_poses(poses, "poses"), fps).resample(self.fps).poses
        with self._lock:
            self._path, self._path_index = followed, 0
            self._taps.clear()
            self._look = (0.0, 0.0)

    def leave_path(self) -> None:
        """Stay where the path has led."""
        with self._lock:
            self._drop_path()

    def teleport(self, pose: npt.ArrayLike) -> None:
        """Be at `pose` `[4, 4]` at once; drops the path and pending taps and looks. Held keys stay held."""
        self._enter(View.of(pose, self.motion.pitch_limit))

    def snapshot(self) -> CameraState:
        """Return the state to come back to with `restore`; it does not change later."""
        with self._lock:
            return CameraState(self._view, self._path, self._path_index)

    def restore(self, state: CameraState) -> None:
        """Be where `state` was taken, with the rest of its path.

        Keys held now stay held; pending taps and looks are dropped.
        """
        with self._lock:
            self._enter(state.view)
            self._path, self._path_index = state.path, state.path_index

    def next_poses(self, frames: int, at: float) -> FloatArray:
        """Advance by `frames` frames, sampled at time `at`: camera-to-world `[frames, 4, 4]`, the last one now `pose`.

        Raises ValueError for less than one frame.
        """
        if frames < 1:
            raise ValueError(f"frames must be 1 or more, got {frames}")
        _check_time(at)
        poses = np.empty((frames, 4, 4))
        with self._lock:
            led = self._follow_path(poses)
            if led < frames:
                self._drive(poses[led:])
            self._fresh.clear()
        return poses

    def _enter(self, view: View) -> None:
        with self._lock:
            self._view = view
            self._drop_path()
            self._taps.clear()
            self._look = (0.0, 0.0)

    def _drop_path(self) -> None:
        self._path, self._path_index = None, 0

    def _follow_path(self, poses: FloatArray) -> int:
        """Fill `poses` `[F, 4, 4]` from the path, returning how many of them it reached."""
        if self._path is None:
            return 0
        reached = self._path[self._path_index : self._path_index + len(poses)]
        for row, pose in enumerate(reached):
            self._move_to(View.of(pose, self.motion.pitch_limit))
            poses[row] = self._view.pose()
        self._path_index += len(reached)
        if self._path_index >= len(self._path):
            self._drop_path()
        return len(reached)

    def _drive(self, poses: FloatArray) -> None:
        """Fill `poses` `[F, 4, 4]` from keys, taps and looks, and use the taps and looks up."""
        spans = self._spans(len(poses) / self.fps)
        self._taps.clear()
        self._look = (0.0, 0.0)
        for row in range(len(poses)):
            begin, end = row / self.fps, (row + 1) / self.fps
            view = self._view
            for span in spans:
                seconds = min(end, span.end) - max(begin, span.start)
                if seconds > 0:
                    view = view.advanced(span.rates, seconds, self.motion.pitch_limit)
            self._move_to(view)
            poses[row] = self._view.pose()

    def _move_to(self, view: View) -> None:
        """Take `view` with its position constrained."""
        if self._constrain is not None:
            place = np.asarray(self._constrain(self._view.position, view.position), dtype=np.float64)
            if place.shape != (3,) or not np.isfinite(place).all():
                raise RuntimeError(f"constrain must return a finite position of shape (3,), got {place}")
            view = view.at(place)
        self._view = view

    def _spans(self, seconds: float) -> list[_Span]:
        """Return a chunk of `seconds` cut where any group's direction changes."""
        programs = {group: self._program(group, seconds) for group in GROUPS}
        edges = sorted({0.0, seconds, *(end for program in programs.values() for end, _ in program)})
        yaw, pitch = (degrees / seconds for degrees in self._look)
        spans = []
        for start, end in itertools.pairwise(edges):
            middle = (start + end) / 2
            now = {group: next(d for until, d in program if middle < until) for group, program in programs.items()}
            keyed = rates_of(**now, motion=self.motion)
            rates = Rates(keyed.forward, keyed.right, keyed.yaw + yaw, keyed.pitch + pitch)
            spans.append(_Span(start, end, rates))
        return spans

    def _program(self, group: Group, seconds: float) -> list[tuple[float, int]]:
        """Return the directions of `group` during the chunk: (until, direction) with `until` rising to `seconds`.

        Taps come first, in their order; where they are too long together the older ones lose. Then the held key, which
        keeps at least the last frame wherever the chunk has more than one.
        """
        frame = 1 / self.fps
        direction = self._held.direction(group)
        room = max(seconds - frame, min(frame, seconds)) if direction else seconds
        taken: list[tuple[float, int]] = []
        for key, held in reversed(self._taps):
            if KEYS[key][0] == group and room > 1e-9:
                length = min(max(held, frame), room)
                room -= length
                taken.append((length, KEYS[key][1]))
        program, until = [], 0.0
        for length, tapped in reversed(taken):
            until += length
            # Snapped to the end: a span of one rounding error would have no middle of its own.
            program.append((seconds if until > seconds - 1e-9 else until, tapped))
        return [*program, (seconds, direction)]


def _check_time(at: float) -> None:
    if not math.isfinite(at):
        raise ValueError(f"at must be a finite time in seconds, got {at}")
