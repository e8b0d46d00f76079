"""Long lists of names in error messages."""

from __future__ import annotations

from collections.abc import Sequence

_SHOWN = 8


def listed(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
