"""A sentence in the making, and what it means so far."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from flashdreams.integrations.pocket.tiles.meanings import ASKED


class ConflictError(Exception):
    """A sentence that names a slot twice."""


@dataclass
class Draft:
    """A sentence in the making."""

    rng: random.Random
    meaning: dict[str, object] = field(default_factory=dict)
    hints: set[str] = field(default_factory=set)
    plain_land: bool = False
    """True where land is named by a word that is no hint."""

    def name(self, slot: str, outcome: object) -> None:
        """Note a slot's outcome; raise `ConflictError` where it has one."""
        if slot in self.meaning:
            raise ConflictError(slot)
        self.meaning[slot] = outcome

    def pick(self, bars: str) -> str:
        """One of the choices between bars."""
        return self.rng.choice(bars.split("|"))

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def hour(self, hour: float) -> None:
        """Note a time of day, to the quarter of an hour."""
        quarters = round(hour * 4) % 96
        self.name("hour", quarters // 4)
        self.name("quarter", quarters % 4)

    def finished(self) -> dict[str, object]:
        """The meaning, with the kinds that are hinted at where nothing else is said of the land."""
        if not self.plain_land:
            for kind in self.hints:
                self.name(kind, ASKED)
        return {name: outcome for name, outcome in self.meaning.items() if (name, outcome) != ("quarter", 0)}
