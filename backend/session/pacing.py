"""When the next chunk has to begin: just in time for what is playing, and not more often than a session may."""

from __future__ import annotations

LEAD_FRAMES = 1.5
"""Frames that must still be left to play when a chunk arrives: browsers stop with about that many in their buffer."""
LEAD_SECONDS = 0.01
"""Added to the lead for the way to the browser."""
FORGET = 0.9
"""How much of the remembered cost is kept from chunk to chunk; a dearer chunk counts at once."""


class Pacer:
    """Follows one visitor's stream. All times are seconds of one monotonic clock."""

    def __init__(self, fps: int, cost: float = 0.1) -> None:
        """Args: frames per second of world time; a first guess of what a chunk costs in seconds."""
        self.fps = fps
        self.cost = cost
        """Seconds from the beginning of a chunk until its frames are there."""
        self.encode_cost = 0.0
        """Seconds from then until its video is."""
        self.played_out = 0.0
        """When everything dreamed so far has been played."""

    def begin_at(self) -> float:
        """When the next chunk is due to begin; in the past where it is late already."""
        return self.played_out - self.cost - self.encode_cost - LEAD_FRAMES / self.fps - LEAD_SECONDS

    def encoded(self, seconds: float) -> None:
        """Count in what encoding a chunk took."""
        self.encode_cost = max(seconds, self.encode_cost * FORGET)

    def generated(self, *, began: float, finished: float, frames: int, urgent: bool) -> None:
        """Count a chunk in. An eager one replaces what was still to play, since the player skips to it."""
        self.cost = max(finished - began, self.cost * FORGET)
        start = finished if urgent else max(finished, self.played_out)
        self.played_out = start + frames / self.fps


class Allowance:
    """Frames that a session may have: a bucket that fills with time and holds one chunk, for an eager one."""

    def __init__(self, fps: float) -> None:
        """Args: frames a second; 0 means no limit."""
        self._fps = fps
        self.not_before = 0.0
        """When the next chunk may begin, seconds of the clock of `spent`."""

    def spent(self, frames: int, now: float) -> None:
        """A chunk of `frames` frames was begun."""
        if self._fps:
            took = frames / self._fps
            self.not_before = max(self.not_before, now - took) + took
