"""Notices a slow network by the time that chunks take to the screen, and says how coarse the video should be."""

from __future__ import annotations

from collections import deque
from statistics import median

from backend.wire.server_messages import QualityMessage

SLOW_CHUNKS = 2.5
"""Chunk lengths from socket to screen that are too long: what plays runs out meanwhile."""
QUICK_CHUNKS = 1.5
"""Chunk lengths from socket to screen that leave room for a finer picture."""
SAMPLES = 8
"""Chunks that are judged together."""
RECOVER_SECONDS = 5.0
"""Quick for so long, before a finer picture is tried."""
HELPED = 0.8
"""A coarser picture must bring the delay down to this share: else it is distance, not bandwidth."""
GIVE_UP_SECONDS = 60.0
"""For so long a coarser picture is not tried again where it did not help."""
RATE_SECONDS = 4.0
"""Over so long the bitrate is averaged."""


class BitrateController:
    """Follows one player's connection. All times are seconds of one monotonic clock."""

    def __init__(self, chunk_seconds: float, levels: int) -> None:
        """Args: seconds that a chunk plays; number of quality levels."""
        self.level = 0
        """0 is the best."""
        self._chunk, self._coarsest = chunk_seconds, levels - 1
        self._sent: dict[int, float] = {}
        self._delays: deque[float] = deque(maxlen=SAMPLES)
        self._sizes: deque[tuple[float, int]] = deque()
        self._before = 0.0
        self._quick_since: float | None = None
        self._not_before = 0.0

    def sent(self, index: int, size: int, now: float) -> None:
        """Note that a chunk of `size` bytes was handed to the socket."""
        self._sent[index] = now
        self._sizes.append((now, size))
        while self._sizes[0][0] < now - RATE_SECONDS:
            self._sizes.popleft()

    def forget(self) -> None:
        """Forget the chunks on their way: the player pauses or has changed."""
        self._sent.clear()
        self._delays.clear()
        self._quick_since = None

    def shown(self, index: int, now: float) -> QualityMessage | None:
        """Note that a chunk, and all before it, is on the screen; return the message if `level` has changed."""
        at = self._sent.get(index)
        for older in [one for one in self._sent if one <= index]:
            del self._sent[older]
        if at is None:
            return None
        self._delays.append(now - at)
        before = self.level
        if len(self._delays) < SAMPLES or not self._judge(median(self._delays), now):
            return None
        return QualityMessage(
            level=self.level,
            reason="slow_network" if self.level > before else "recovered",
            kbps=round(self.kbps(now), 1),
        )

    def kbps(self, now: float) -> float:
        """Recent bitrate of the video in kbit/s."""
        recent = sum(size for at, size in self._sizes if at >= now - RATE_SECONDS)
        return recent * 8 / 1e3 / RATE_SECONDS

    def _judge(self, delay: float, now: float) -> bool:
        if delay > SLOW_CHUNKS * self._chunk:
            self._quick_since = None
            if self._before and delay > HELPED * self._before:
                self._not_before = now + GIVE_UP_SECONDS
                return self._change(-1, 0.0)
            if self.level < self._coarsest and now >= self._not_before:
                return self._change(1, delay)
            return False
        self._before = 0.0
        if delay > QUICK_CHUNKS * self._chunk or self.level == 0:
            self._quick_since = None
            return False
        if self._quick_since is None:
            self._quick_since = now
        return now - self._quick_since >= RECOVER_SECONDS and self._change(-1, 0.0)

    def _change(self, step: int, before: float) -> bool:
        self.level = min(max(self.level + step, 0), self._coarsest)
        self._before = before
        self._quick_since = None
        self._delays.clear()
        return True
