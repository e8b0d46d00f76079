"""Detects frames that have gone bad: flat, over- or underexposed, or of a very different colour."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import numpy.typing as npt

from backend.clock import Clock, monotonic

PIXELS = 16
"""Pixels between two that are examined, in both directions."""
FLAT = 4.0
"""Standard deviation of the brightness, 0 to 255, below which a frame is flat."""
BLOWN = 0.7
"""Share of black or white pixels above which a frame is bad."""
COLOUR = 95.0
"""Largest distance of the mean colour from that of the first frames, 0 to 255 in each channel."""
PATIENCE_SECONDS = 2.0
"""Seconds that frames must be bad: a visitor may look at a wall."""
LONGEST_CHUNK = 1.0
"""Most seconds that one bad chunk counts: between two chunks a visitor may rest."""
SLACK = 1e-6


MAX_FAILURES, FAILURE_WINDOW_SECONDS = 3, 90.0
"""Rollouts gone bad within so many seconds that show a fault of the model."""


class QualityFailures:
    """Times at which rollouts went bad, over all sessions."""

    def __init__(self, clock: Clock = monotonic) -> None:
        self._clock = clock
        self._times: deque[float] = deque(maxlen=MAX_FAILURES)

    def note(self) -> None:
        """Note that a rollout has gone bad."""
        self._times.append(self._clock())

    @property
    def unrecoverable(self) -> bool:
        """True if new rollouts go bad as well."""
        return len(self._times) == MAX_FAILURES and self._times[-1] - self._times[0] < FAILURE_WINDOW_SECONDS


class QualityGuard:
    """Follows one rollout. Used by one thread at a time."""

    def __init__(self, fps: int) -> None:
        self._fps = fps
        self._bad, self._seen = 0.0, math.inf
        self._reference: dict[str, npt.NDArray[np.float64]] = {}
        self.reason = ""
        """Fault of the newest bad frame."""

    def note(self, scene: str, frames: npt.NDArray[np.uint8], now: float) -> bool:
        """Examine a chunk `[T, H, W, 3]` of `scene` at `now` seconds; return True if frames have been bad for too long.

        It is returned once; the next chunk counts as one of a new rollout.
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
            return f"the frame is flat (deviation {spread:.1f})"
        if (share := float(((brightness < 3) | (brightness > 252)).mean())) > BLOWN:
            return f"{share:.0%} of the frame is black or white"
        away = float(np.abs(mean - self._reference.setdefault(scene, mean)).max())
        return f"its colour is {away:.0f} away from that of the first frames" if away > COLOUR else ""
