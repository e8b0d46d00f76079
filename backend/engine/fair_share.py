"""Fair sharing of engine time among sessions."""

from __future__ import annotations

from collections.abc import Hashable, Set

MAX_LEAD_SECONDS = 0.25
"""Seconds of engine time that a session may have had more than another that waits."""
ABSENT_AFTER = 1.0
"""Seconds without work after which a session counts as absent: unused time does not accumulate."""


class FairShare:
    """Engine time per owner. Times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._clocks: dict[Hashable, float] = {}
        self._seen: dict[Hashable, float] = {}

    def arrive(self, owner: Hashable, now: float) -> None:
        """Note that an owner has work. One who was absent begins level with the present owner who had least."""
        if now - self._seen.get(owner, -ABSENT_AFTER) >= ABSENT_AFTER:
            present = [self._clocks[other] for other, at in self._seen.items() if now - at < ABSENT_AFTER]
            self._clocks[owner] = max(self._clocks.get(owner, 0.0), min(present, default=0.0))
        self._seen[owner] = now

    def charge(self, owner: Hashable, began: float, ended: float) -> None:
        """Add engine time to an owner's account."""
        self._clocks[owner] = self._clocks.get(owner, 0.0) + ended - began
        self._seen[owner] = ended

    def forget(self, owner: Hashable) -> None:
        """Drop an owner's account."""
        self._clocks.pop(owner, None)
        self._seen.pop(owner, None)

    def is_ahead(self, owner: Hashable, waiting: Set[Hashable]) -> bool:
        """Return True if an owner has had so much time that another waiting owner goes first."""
        least = min(self._clocks.get(other, 0.0) for other in waiting)
        return self._clocks.get(owner, 0.0) > least + MAX_LEAD_SECONDS
