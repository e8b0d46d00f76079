"""Notices when a dream's pictures have left what its world looks like: flat, blown out, or of quite another colour."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import numpy.typing as npt

from backend.clock import Clock, monotonic

PIXELS = 16
"""Every so many pixels one is looked at, in both directions."""
FLAT = 4.0
"""Standard deviation of the brightness, 0 to 255, below which there is no picture."""
BLOWN = 0.7
"""Share of pixels that are quite black or quite white."""
COLOUR = 95.0
"""How far a mean colour may be from where the dream began, 0 to 255 in each channel."""
PATIENCE_SECONDS = 2.0
"""How long pictures must be bad: a visitor may look at a wall."""
LONGEST_CHUNK = 1.0
"""Seconds that one bad chunk counts at most, however slow the machine is: between two chunks a visitor may rest."""
SLACK = 1e-6


MAX_FAILURES, FAILURE_WINDOW_SECONDS = 3, 90.0
"""Dreams gone bad within so many seconds: then it is not the dreams, but the model."""


class QualityFailures:
    """When dreams went bad, all sessions taken together."""

    def __init__(self, clock: Clock = monotonic) -> None:
        self._clock = clock
        self._times: deque[float] = deque(maxlen=MAX_FAILURES)

    def note(self) -> None:
        """One has gone bad."""
        self._times.append(self._clock())

    @property
    def unrecoverable(self) -> bool:
        """Whether beginning again does not help any more."""
        return len(self._times) == MAX_FAILURES and self._times[-1] - self._times[0] < FAILURE_WINDOW_SECONDS


class QualityGuard:
    """Follows one rollout. Used by one thread at a time."""

    def __init__(self, fps: int) -> None:
        self._fps = fps
        self._bad, self._seen = 0.0, math.inf
        self._reference: dict[str, npt.NDArray[np.float64]] = {}
        self.reason = ""
        """What was wrong with the newest bad picture."""

    def note(self, scene: str, frames: npt.NDArray[np.uint8], now: float) -> bool:
        """Look at a chunk `[T, H, W, 3]` of `scene` at `now` seconds; whether pictures have been bad for too long.

        True is said once; what comes next counts as another rollout.
        """
        self.reason = self._fault(scene, frames[-1, ::PIXELS, ::PIXELS].reshape(-1, 3).astype(np.float64))
        lasts = max(len(frames) / self._fps, min(now - self._seen, LONGEST_CHUNK))
        self._bad, self._seen = self._bad + lasts if self.reason else 0.0, now
        if self._bad < PATIENCE_SECONDS - SLACK:
            return False
        self._bad = 0.0
        self._reference.clear()
        return True

    def _fault(self, scene: str, pixels: npt.NDArray[np.float64]) -> str:
        brightness, mean = pixels.mean(axis=1), pixels.mean(axis=0)
        if (spread := float(brightness.std())) < FLAT:
            return f"the picture is flat (deviation {spread:.1f})"
        if (share := float(((brightness < 3) | (brightness > 252)).mean())) > BLOWN:
            return f"{share:.0%} of the picture is black or white"
        away = float(np.abs(mean - self._reference.setdefault(scene, mean)).max())
        return f"its colour is {away:.0f} away from where it began" if away > COLOUR else ""
