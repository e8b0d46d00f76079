"""Fifty lines of text for endless worlds, what each must bring, and which of it a classifier of views saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flashdreams.integrations.pocket.evaluation.view_classifier import Reading

LIKELY = 0.5
"""Probability from which the weather counts as seen."""
MUCH, LITTLE = 0.9, 0.05
"""Amounts of procedural land that obeys words for more and for less."""


@dataclass(frozen=True)
class Margin:
    """Differences of an amount that is seen in two worlds, from which one has more, or less, of it."""

    more: float
    less: float

    def obeys(self, apart: float, more: bool) -> bool:
        """Return True if one world has so much `more` than the other, or less, that the words for it were heard."""
        return apart >= self.more if more else apart <= -self.less


@dataclass(frozen=True)
class Prompt:
    """A line of text, and what it asks for: written down by hand, whatever the world's parser understands."""

    text: str
    kind: str
    time: str | None = None
    more: tuple[str, ...] = ()
    less: tuple[str, ...] = ()
    clouds: bool | None = None
    fog: bool = False
    amounts: dict[str, float] = field(init=False)
    """By attribute, what procedural land that obeys is given."""

    def __post_init__(self) -> None:
        amounts = dict.fromkeys(self.more, MUCH) | dict.fromkeys(self.less, LITTLE)
        object.__setattr__(self, "amounts", amounts)

    def seen(self, reading: Reading, usual: Reading, margins: Mapping[str, Margin]) -> dict[str, bool]:
        """By what is asked for, True where `reading` shows it; amounts beside the `usual` world, by their margins.

        Of an amount that has no margin nothing is shown.
        """
        found = {"kind": max(reading.kinds, key=lambda name: reading.kinds[name]) == self.kind}
        if self.time is not None:
            found["time"] = max(reading.times, key=lambda name: reading.times[name]) == self.time
        for way, names in (("more", self.more), ("less", self.less)):
            for name in names:
                apart = reading.amounts[name] - usual.amounts[name]
                found[f"{way} {name}"] = name in margins and margins[name].obeys(apart, more=way == "more")
        if self.clouds is not None:
            found["clouds"] = (reading.weather["clouds"] >= LIKELY) == self.clouds
        if self.fog:
            found["fog"] = reading.weather["fog"] >= LIKELY
        return found


# Those of the same land stand together: its tiles are dreamed once.
PROMPTS = (
    Prompt("a meadow", "meadow"),
    Prompt("spring fields in the morning", "meadow", "day"),
    Prompt("a cloudy day in the countryside", "meadow", "day", clouds=True),
    Prompt("grass and hills at night", "meadow", "night"),
    Prompt("a forest", "forest"),
    Prompt("woods at dusk", "forest", "twilight"),
    Prompt("a foggy forest", "forest", fog=True),
    Prompt("pines at midnight", "forest", "night"),
    Prompt("a desert at noon", "desert", "day"),
    Prompt("dunes at sunset", "desert", "twilight"),
    Prompt("a canyon at night", "desert", "night"),
    Prompt("a sunny desert", "desert", clouds=False),
    Prompt("a town", "town"),
    Prompt("city streets at night", "town", "night"),
    Prompt("an overcast town", "town", clouds=True),
    Prompt("a market square in the evening", "town", "twilight"),
    Prompt("snow", "snow"),
    Prompt("a frozen land at dawn", "snow", "twilight"),
    Prompt("a misty winter", "snow", fog=True),
    Prompt("the coast", "coast"),
    Prompt("a beach on a sunny afternoon", "coast", "day", clouds=False),
    Prompt("the ocean at sunset", "coast", "twilight"),
    Prompt("a harbour at night", "coast", "night"),
    Prompt("a garden", "garden"),
    Prompt("cherry blossom at sunrise", "garden", "twilight"),
    Prompt("a temple at midnight", "garden", "night"),
    Prompt("a snowy village", "snow", more=("houses",)),
    Prompt("a snowy village at night", "snow", "night", more=("houses",)),
    Prompt("cottages in the snow, overcast", "snow", more=("houses",), clouds=True),
    Prompt("a meadow with many trees", "meadow", more=("trees",)),
    Prompt("a meadow with lots of trees in the evening", "meadow", "twilight", more=("trees",)),
    Prompt("a meadow without trees", "meadow", less=("trees",)),
    Prompt("fields with no trees at noon", "meadow", "day", less=("trees",)),
    Prompt("a village in the countryside", "meadow", more=("houses",)),
    Prompt("cottages in a meadow on a foggy morning", "meadow", "day", more=("houses",), fog=True),
    Prompt("a desert with many rocks", "desert", more=("rocks",)),
    Prompt("a desert with many stones at dusk", "desert", "twilight", more=("rocks",)),
    Prompt("a desert without rocks", "desert", less=("rocks",)),
    Prompt("a forest with many ponds", "forest", more=("water",)),
    Prompt("woods with many ponds in the morning", "forest", "day", more=("water",)),
    Prompt("a garden with ponds", "garden", more=("water",)),
    Prompt("a park with a river at dusk", "garden", "twilight", more=("water",)),
    Prompt("a town with many trees", "town", more=("trees",)),
    Prompt("city streets with many trees, sunny", "town", more=("trees",), clouds=False),
    Prompt("snow with no trees", "snow", less=("trees",)),
    Prompt("winter without trees at night", "snow", "night", less=("trees",)),
    Prompt("a meadow with many paths", "meadow", more=("ways",)),
    Prompt("fields with many roads at sunset", "meadow", "twilight", more=("ways",)),
    Prompt("a coast with few houses and many trees", "coast", more=("trees",), less=("houses",)),
    Prompt("a beach with few houses and many trees at night", "coast", "night", more=("trees",), less=("houses",)),
)
QUICK_PROMPTS = tuple(PROMPTS[index] for index in (14, 15, 27, 28))
"""Prompts of a rough look: four of two lands."""
