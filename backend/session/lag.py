"""Lag of a server: the time that recent chunks took over the time that they play."""

from __future__ import annotations

from collections import deque

from backend.clock import Clock, monotonic

RECENT_SECONDS = 10.0
"""Age of the chunks that count: a server where nothing moves has no lag."""


class LagMeter:
    """Mean lag of the chunks of all sessions. Lives on the event loop."""

    def __init__(self, clock: Clock = monotonic) -> None:
        self._clock = clock
        self._chunks: deque[tuple[float, float, float]] = deque()

    def note(self, taken: float, played: float) -> None:
        """Note a chunk of `played` seconds that was there `taken` seconds after it was asked for."""
        self._chunks.append((self._clock(), taken, played))
        self._forget()

    @property
    def value(self) -> float:
        """Time taken over time played, of recent chunks together; above 1 the server falls behind. 0 if none is."""
        self._forget()
        played = sum(seconds for _, _, seconds in self._chunks)
        return sum(seconds for _, seconds, _ in self._chunks) / played if played else 0.0

    def _forget(self) -> None:
        since = self._clock() - RECENT_SECONDS
        while self._chunks and self._chunks[0][0] < since:
            self._chunks.popleft()
