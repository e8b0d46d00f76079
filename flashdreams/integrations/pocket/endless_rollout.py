"""State of a rollout in a world without end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from flashdreams.infra.world.base import Rollout
from flashdreams.integrations.pocket.model.interpolation import End
from flashdreams.integrations.pocket.movers.state import Movers
from flashdreams.integrations.pocket.tiles.edits import Edits
from flashdreams.integrations.pocket.tiles.jump import Jump
from flashdreams.integrations.pocket.tiles.lands import Land
from flashdreams.integrations.pocket.tiles.schedule import Schedule
from flashdreams.integrations.pocket.tiles.surroundings import Surroundings
from flashdreams.integrations.pocket.tiles.weather import Weather

T = TypeVar("T")


class _InterruptedStep(Exception):
    """A step is not to be made to its end."""


@dataclass(kw_only=True)
class EndlessRollout(Rollout):
    """A visitor's way through a land."""

    land: Land
    weather: Weather
    edits: Edits
    """Changes that the visitor and others have made, oldest first."""
    held: frozenset[str] = frozenset()
    """Actions held in the newest frame."""
    schedule: Schedule = field(default_factory=Schedule)
    jump: Jump = field(default_factory=Jump)
    """Height above the ground, which is added to that of the poses."""
    movers: Movers = field(default_factory=Movers)
    """People, animals, birds and boats around the visitor."""
    shown: End | None = None
    """The last frame shown."""
    surroundings: Surroundings | None = None
    """Computed from all the above; left out of copies."""

    def copied(self) -> EndlessRollout:
        """Return a copy of all state, which later chunks of this one do not touch."""
        return replace(self, schedule=self.schedule.copy(), surroundings=None, timings=dict(self.timings))

    def unless(self, interrupted: Callable[[], bool], step: Callable[[Callable[[], None]], T]) -> T | None:
        """Return `step(between)`; or None, with all state as it was, where `interrupted()` is true in a `between()`."""
        before = self.copied()

        def between() -> None:
            if interrupted():
                raise _InterruptedStep

        try:
            return step(between)
        except _InterruptedStep:
            # The surroundings stay: they hold what they were made of, and are made again where that differs.
            vars(self).update({**vars(before), "surroundings": self.surroundings})
            return None
