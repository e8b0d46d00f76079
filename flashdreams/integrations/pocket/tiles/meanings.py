"""The quantities that a line of text may name, each with the outcomes that it may have."""

from __future__ import annotations

from collections.abc import Mapping

from flashdreams.integrations.pocket.land.kinds import ATTRIBUTES, KINDS, STYLE, Color

ASKED, LITTLE, REFUSED = "asked", "a little", "refused"
KIND_OUTCOMES = ("", ASKED, LITTLE, REFUSED)
EIGHTHS: tuple[int | None, ...] = (None, 0, 2, 4, 7, 8)
"""Amounts: not named, none, few, some, as named without an amount, many."""
SKY = ("clouds", "fog", "rain", "snowfall")
"""Amounts of the weather."""
HOURS: tuple[int | None, ...] = (None, *range(24))
QUARTERS = (0, 1, 2, 3)
COLOURS: dict[str, Color] = {
    "red": (0.78, 0.22, 0.18), "orange": (0.88, 0.55, 0.18), "yellow": (0.93, 0.76, 0.25), "green": (0.25, 0.52, 0.20),
    "blue": (0.25, 0.45, 0.75), "white": (0.96, 0.95, 0.93), "grey": (0.58, 0.58, 0.58), "brown": (0.46, 0.32, 0.21),
    "pink": (0.95, 0.65, 0.74), "black": (0.20, 0.20, 0.22), "purple": (0.56, 0.34, 0.66),
    "turquoise": (0.22, 0.55, 0.58),
}  # fmt: skip
"""Colours by name; a kind of land takes the nearest that its palette has."""
COLOUR_OUTCOMES = ("", *COLOURS)
SLOTS: dict[str, tuple[object, ...]] = {
    **dict.fromkeys(KINDS, KIND_OUTCOMES),
    **dict.fromkeys((*ATTRIBUTES, *SKY), EIGHTHS),
    "hour": HOURS,
    "quarter": QUARTERS,
    **dict.fromkeys(STYLE, COLOUR_OUTCOMES),
}
"""Outcomes of every quantity, the first of each for "not named"."""
OUTPUTS = sum(map(len, SLOTS.values()))
Meaning = Mapping[str, object]
"""Outcomes of the quantities that are named; all others have their first."""


def class_indices(meaning: Meaning) -> list[int]:
    """Return the index of each slot's outcome, in the order of `SLOTS`."""
    return [outcomes.index(meaning.get(name, outcomes[0])) for name, outcomes in SLOTS.items()]


def meaning_of(indices: list[int]) -> dict[str, object]:
    """Return the outcomes of the slots that are named, the inverse of `class_indices`."""
    pairs = zip(SLOTS.items(), indices, strict=True)
    named = {name: outcomes[index] for (name, outcomes), index in pairs if index}
    if "hour" not in named:
        named.pop("quarter", None)
    return named
