"""Messages for names that do not exist, with the nearest one that does."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def with_nearest(message: str, name: str, known: Iterable[str]) -> str:
    """Return `message`, then the nearest of the `known` names if one is near, then all of them."""
    names = list(known)
    nearest = get_close_matches(name, names, n=1, cutoff=0.4)
    guess = f", did you mean {nearest[0]!r}?" if nearest else ";"
    return f"{message}{guess} known are: {', '.join(names) or 'none'}"
