"""How much of the model's time everybody had, so that nobody who waits is left behind."""

from __future__ import annotations

from collections.abc import Hashable, Set

MAX_LEAD_SECONDS = 0.25
"""Seconds of the model's time that a visitor may have had more than another one who waits."""
ABSENT_AFTER = 1.0
"""Seconds without work after which a visitor counts as away: time that was not used is not owed."""


class FairShare:
    """A clock per owner that runs while the model works for them. Times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._clocks: dict[Hashable, float] = {}
        self._seen: dict[Hashable, float] = {}

    def arrive(self, owner: Hashable, now: float) -> None:
        """An owner has work. Who was away begins level with the one who had least since."""
        if now - self._seen.get(owner, -ABSENT_AFTER) >= ABSENT_AFTER:
            present = [self._clocks[other] for other, at in self._seen.items() if now - at < ABSENT_AFTER]
            self._clocks[owner] = max(self._clocks.get(owner, 0.0), min(present, default=0.0))
        self._seen[owner] = now

    def charge(self, owner: Hashable, began: float, ended: float) -> None:
        """The model has worked for an owner."""
        self._clocks[owner] = self._clocks.get(owner, 0.0) + ended - began
        self._seen[owner] = ended

    def forget(self, owner: Hashable) -> None:
        """An owner will not come again."""
        self._clocks.pop(owner, None)
        self._seen.pop(owner, None)

    def is_ahead(self, owner: Hashable, waiting: Set[Hashable]) -> bool:
        """Whether an owner has had so much that others of those who wait go first."""
        least = min(self._clocks.get(other, 0.0) for other in waiting)
        return self._clocks.get(owner, 0.0) > least + MAX_LEAD_SECONDS
