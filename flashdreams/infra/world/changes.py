"""Changes of a world by its visitors, as text that travels from one rollout of the world to another."""

from __future__ import annotations

from dataclasses import dataclass

MAX_CHANGES = 64
"""Changes by others that one chunk begins with at most; more follow with the next chunks."""
MAX_CHANGE_CHARACTERS = 8192
"""Characters of a change that travels; longer ones stay with the visitor who made them."""


@dataclass(frozen=True, kw_only=True)
class WorldChange:
    """A change that another visitor made or undid: what it is, where in the order of all changes, and whose.

    Raises ValueError naming the field that is wrong.
    """

    text: str
    """The change as `World.changes` gives it."""
    at: int | None = None
    """Its position among the rollout's changes, once those before it in the chunk are made; None: it is undone."""
    by: int = 0
    """Number of the visitor who made it; 0: this rollout's own."""

    def __post_init__(self) -> None:
        if not 0 < len(self.text) <= MAX_CHANGE_CHARACTERS:
            raise ValueError(f"text must have 1 to {MAX_CHANGE_CHARACTERS} characters, got {len(self.text)}")
        if self.at is not None and self.at < 0:
            raise ValueError(f"at must be None or a number from 0, got {self.at}")
        if self.by < 0:
            raise ValueError(f"by must be a number from 0, got {self.by}")
