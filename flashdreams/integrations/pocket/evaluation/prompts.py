"""Fifty lines of text for endless worlds, what each must bring, and which of it a classifier of views saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flashdreams.integrations.pocket.evaluation.view_classifier import Reading

LIKELY = 0.5
"""Probability from which the weather counts as seen."""
MUCH, LITTLE = 0.9, 0.05
"""Amounts of procedural land that obeys words for more and for less."""


@dataclass(frozen=True)
class Change:
    """A change of an amount that a prompt asks for, on one kind of land."""

    kind: str
    attribute: str
    more: bool
    """Less is asked for if False."""

    @property
    def amount(self) -> float:
        """Amount of procedural land that obeys."""
        return MUCH if self.more else LITTLE

    def apart(self, reading: Reading, usual: Reading) -> float:
        """Return by how much a world differs from the `usual` one in the way that is asked for."""
        apart = reading.amounts[self.attribute] - usual.amounts[self.attribute]
        return apart if self.more else -apart


Margins = Mapping[Change, float]
"""Differences between two worlds from which changes count as seen; those that have none do not."""


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

    @property
    def changes(self) -> tuple[Change, ...]:
        """The amounts that it asks for."""
        asked = [(name, True) for name in self.more] + [(name, False) for name in self.less]
        return tuple(Change(self.kind, name, more) for name, more in asked)

    @property
    def amounts(self) -> dict[str, float]:
        """By attribute, what procedural land that obeys is given."""
        return {change.attribute: change.amount for change in self.changes}

    def seen(self, reading: Reading, usual: Reading, margins: Margins) -> dict[str, bool]:
        """By what is asked for, True where `reading` shows it; amounts beside the `usual` world."""
        found = {"kind": max(reading.kinds, key=lambda name: reading.kinds[name]) == self.kind}
        if self.time is not None:
            found["time"] = max(reading.times, key=lambda name: reading.times[name]) == self.time
        for change in self.changes:
            name = f"{'more' if change.more else 'less'} {change.attribute}"
            found[name] = change in margins and change.apart(reading, usual) >= margins[change]
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
