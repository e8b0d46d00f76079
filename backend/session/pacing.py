"""Pacing of chunks: just in time for playback, and within the session's frame rate limit."""

from __future__ import annotations

LEAD_FRAMES = 1.5
"""Frames that must still be left to play when a chunk arrives: browsers stop with about that many in their buffer."""
LEAD_SECONDS = 0.01
"""Added to the lead for the way to the browser."""
FORGET = 0.9
"""Share of the remembered cost kept from chunk to chunk; a higher cost counts at once."""


class Pacer:
    """Follows one visitor's stream. All times are seconds of one monotonic clock."""

    def __init__(self, fps: int, cost: float = 0.1) -> None:
        """Args: frames per second of world time; initial estimate of the seconds that a chunk takes."""
        self.fps = fps
        self.cost = cost
        """Seconds from the beginning of a chunk to its frames."""
        self.encode_cost = 0.0
        """Seconds from its frames to its video."""
        self.played_out = 0.0
        """Time at which all chunks so far have been played."""

    def begin_at(self) -> float:
        """Return the time at which the next chunk has to begin; it is in the past if the chunk is late."""
        return self.played_out - self.cost - self.encode_cost - LEAD_FRAMES / self.fps - LEAD_SECONDS

    def encoded(self, seconds: float) -> None:
        """Count the time that encoding a chunk took."""
        self.encode_cost = max(seconds, self.encode_cost * FORGET)

    def generated(self, *, began: float, finished: float, frames: int, urgent: bool) -> None:
        """Count a chunk. An urgent one replaces what was still to play, since the player skips to it."""
        self.cost = max(finished - began, self.cost * FORGET)
        start = finished if urgent else max(finished, self.played_out)
        self.played_out = start + frames / self.fps


class Allowance:
    """Token bucket of the frames that a session may have; it holds one chunk, for an urgent one."""

    def __init__(self, fps: float) -> None:
        """Begin with a full bucket. Args: frames a second; 0 means no limit."""
        self._fps = fps
        self.not_before = 0.0
        """Time at which the next chunk may begin."""

    def spent(self, frames: int, now: float) -> None:
        """Count a chunk of `frames` frames begun at `now`."""
        if self._fps:
            took = frames / self._fps
            self.not_before = max(self.not_before, now - took) + took
