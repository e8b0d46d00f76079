"""Timeouts of sessions: limits, warnings before them, and the estimate for waiting visitors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from backend.settings import Settings

EndReason = Literal["idle", "time", "failed", "taken_over", "shutdown", "moved"]
"""Reason for the end of a session."""
WARN_SECONDS = (60.0, 10.0)
"""Before the end of a session, where the limit itself is longer than that."""
SOON = 0.25
"""A session that is older than most is expected to go on for this share of a usual one."""
LOST_SECONDS = 10.0
"""Grace time of a session whose connection broke, while others wait: a page notices within 8 s and comes back."""
LEFT_SECONDS = 1.0
"""The same where the page was closed: enough for one that is loaded again."""
REMEMBER = 0.8
"""Share of the typical length kept when another session ends."""


class TimedSession(Protocol):
    """Fields of a session that the timeouts read; times are seconds of one monotonic clock."""

    id: str
    created_at: float
    last_input: float
    detached_since: float | None

    def warn(self, what: Literal["minutes", "idle"], seconds: float) -> None:
        """Tell the visitor that the session ends in so many seconds."""


class Timeouts:
    """Timeouts of all sessions. Lives on the event loop; times are seconds of one monotonic clock."""

    def __init__(self, settings: Settings) -> None:
        self._minutes, self._idle, self._grace = settings.session_minutes, settings.idle_limit, settings.grace
        self._warned: dict[tuple[str, str], float] = {}
        self.typical_seconds: float | None = None
        """Typical seconds of a session; None before the first has ended."""

    def check(self, session: TimedSession, now: float, grace: float) -> EndReason | None:
        """Return the reason to end a session now, or None; warn its player if the end is near.

        Args: `grace` is the most seconds that the session may be without its connection.
        """
        if session.detached_since is not None and now - session.detached_since > grace:
            return "idle"
        for what, limit, since in (
            ("minutes", self._minutes * 60, session.created_at),
            ("idle", self._idle, session.last_input),
        ):
            left = limit - (now - since)
            if limit and left <= 0:
                return "time" if what == "minutes" else "idle"
            if limit:
                self._warn(session, "minutes" if what == "minutes" else "idle", limit, left)
        return None

    def _warn(self, session: TimedSession, what: Literal["minutes", "idle"], limit: float, left: float) -> None:
        passed = [seconds for seconds in WARN_SECONDS if left <= seconds < limit]
        key = (session.id, what)
        if not passed:
            self._warned.pop(key, None)
        elif self._warned.get(key) != min(passed):
            self._warned[key] = min(passed)
            session.warn(what, round(left, 1))

    def ended(self, session: TimedSession, now: float) -> None:
        """Count the length of a session that has ended."""
        lasted = now - session.created_at
        self.typical_seconds = (
            lasted if self.typical_seconds is None else REMEMBER * self.typical_seconds + (1 - REMEMBER) * lasted
        )
        for what in ("minutes", "idle"):
            self._warned.pop((session.id, what), None)

    def seconds_until_place(
        self, position: int, sessions: Sequence[TimedSession], now: float, *, beginning: int = 0
    ) -> float | None:
        """Return the seconds that the visitor at `position`, from 1, may have to wait; None if unknown.

        Args: the sessions that are alive; `beginning`, the number of those about to begin.
        """
        whole = self.typical_seconds or self._minutes * 60 or float("inf")
        left = sorted([*(self._seconds_left(session, now) for session in sessions), *[whole] * beginning])
        if not left or left[-1] == float("inf"):
            return None
        rounds, place = divmod(position - 1, len(left))
        return round(left[place] + rounds * whole, 1)

    def _seconds_left(self, session: TimedSession, now: float) -> float:
        expected = [float("inf")]
        if self._minutes:
            expected.append(self._minutes * 60 - (now - session.created_at))
        if self.typical_seconds is not None:
            expected.append(max(self.typical_seconds - (now - session.created_at), SOON * self.typical_seconds))
        if session.detached_since is not None:
            grace = min(self._grace, LOST_SECONDS)  # it is asked for those who wait
            expected.append(grace - (now - session.detached_since))
        return max(0.0, min(expected))
