"""Offline camera: a list of key events, integrated exactly to the pose at any time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from flashdreams.camera.keys import GROUPS, HeldKeys, rates_of
from flashdreams.camera.kinematics import CameraMotion, Rates, View
from flashdreams.camera.poses import FloatArray


class KeyTimeline:
    """Keys over time, starting from a pose at `start_time` seconds with no key held.

    Each event `(time, keys)` gives the full list of keys held from that time on; between events the motion is constant
    and integrated exactly, whatever frame times are asked for.
    """

    def __init__(
        self,
        events: Sequence[tuple[float, Sequence[str]]],
        motion: CameraMotion | None = None,
        start_pose: npt.ArrayLike | None = None,
        start_time: float = 0.0,
    ) -> None:
        """Raise ValueError for a bad pose, an unknown key (naming its event) or times that go back."""
        self.motion = motion or CameraMotion()
        pose = np.eye(4) if start_pose is None else start_pose
        self._start_time = start_time
        self._spans = self._constant_spans(events, start_time)
        self._start = View.of(pose, self.motion.pitch_limit)

    def _constant_spans(self, events: Sequence[tuple[float, Sequence[str]]], start: float) -> list[tuple[float, Rates]]:
        """Return the rates and the time from which each holds."""
        held = HeldKeys()
        spans = [(start, Rates())]
        for index, (time, down) in enumerate(events):
            if not np.isfinite(time) or time < spans[-1][0]:
                raise ValueError(f"event {index}: time must be finite and not before {spans[-1][0]:g} s, got {time}")
            try:
                held.update(down)
            except (TypeError, ValueError) as error:
                raise type(error)(f"event {index}: {error}") from None
            directions = {group: held.direction(group) for group in GROUPS}
            spans.append((float(time), rates_of(**directions, motion=self.motion)))
        return spans

    def poses_at(self, times: npt.ArrayLike) -> FloatArray:
        """Return camera-to-world `[N, 4, 4]` at `times` `[N]`, in seconds, not falling and not before the start.

        Raises ValueError for other times.
        """
        moments = np.asarray(times, dtype=np.float64)
        if moments.ndim != 1 or not np.isfinite(moments).all():
            raise ValueError("times must be a list of finite numbers")
        if (np.diff(moments, prepend=self._start_time) < 0).any():
            raise ValueError(f"times must not fall and not lie before the start at {self._start_time:g} s")
        poses = np.empty((len(moments), 4, 4))
        view, now, index = self._start, self._start_time, 0
        for row, moment in enumerate(moments):
            while index + 1 < len(self._spans) and self._spans[index + 1][0] <= moment:
                view = view.advanced(self._spans[index][1], self._spans[index + 1][0] - now, self.motion.pitch_limit)
                index += 1
                now = self._spans[index][0]
            # From the span's beginning each time, so that no rounding piles up over the frames inside it.
            poses[row] = view.advanced(self._spans[index][1], moment - now, self.motion.pitch_limit).pose()
        return poses

    def frames(self, count: int, fps: float) -> FloatArray:
        """Return poses `[count, 4, 4]` of video frames at `fps`, the first at the start time."""
        if count < 1 or not fps > 0:
            raise ValueError(f"count must be 1 or more and fps above 0, got {count} and {fps}")
        return self.poses_at(self._start_time + np.arange(count) / fps)
