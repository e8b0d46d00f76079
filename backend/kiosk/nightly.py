"""The hour of the nightly restart, which a clock that is set meanwhile neither brings forward nor skips."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable

JUMP_SECONDS = 60.0
"""A wall clock that differs so much from what passed was set: by NTP's first word, by hand, for summer time."""
QUIET_SECONDS = 60.0
"""Seconds without a visitor's input until the restart is made."""
LONGEST_DELAY = 3600.0
"""Seconds after which it is made whoever plays."""


class Nightly:
    """Tells once a day that it is `at` o'clock, once nobody plays. Lives on one thread."""

    def __init__(
        self,
        at: datetime.time,
        now: Callable[[], datetime.datetime] = datetime.datetime.now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._at, self._now, self._monotonic = at, now, monotonic
        self._offset = 0.0
        self._due = 0.0
        self._schedule()

    def due(self, visited_seconds_ago: Callable[[], float]) -> bool:
        """Return True if the restart is due now; the next one is then tomorrow's."""
        offset = self._now().timestamp() - self._monotonic()
        if abs(offset - self._offset) > JUMP_SECONDS:
            self._schedule()  # the hour may be past by the new clock: then it is tomorrow's, as at a start
        late = self._monotonic() - self._due
        if late < 0 or (visited_seconds_ago() < QUIET_SECONDS and late < LONGEST_DELAY):
            return False
        self._schedule()
        return True

    def _schedule(self) -> None:
        now = self._now()
        today = datetime.datetime.combine(now.date(), self._at)
        following = today if today > now else today + datetime.timedelta(days=1)
        self._due = self._monotonic() + (following - now).total_seconds()
        self._offset = now.timestamp() - self._monotonic()
