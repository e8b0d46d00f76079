"""A land: the seed and all the words that a world's tiles follow, as a key that travels in rollouts and files."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace

from flashdreams.integrations.pocket.tiles.config import TILE_METRES
from flashdreams.integrations.pocket.tiles.masks import known_neighbours
from flashdreams.integrations.pocket.tiles.picture import Picture
from flashdreams.integrations.pocket.tiles.plan import Change, WorldPlan
from flashdreams.integrations.pocket.tiles.text_encoder import Words, understand

Spot = tuple[int, int]
"""Coordinates of a tile: eastward and northward."""
MAX_CHANGES = 256
"""Texts said while walking that change the land; later ones only change light and weather."""


@dataclass(frozen=True)
class Land:
    """Seed, texts and picture of a world: with their coordinates they determine its tiles."""

    seed: int
    text: str = ""
    changes: tuple[tuple[str, Spot], ...] = ()
    """Texts said while walking, and on which tile."""
    picture: Picture | None = None
    """The picture that it began with."""
    place: str = ""
    """The stored place in its middle, by name; empty if there is none."""

    def plan(self) -> WorldPlan:
        """The conditions of its tiles."""
        words = understand(self.text)
        base, changes = words, []
        for text, spot in self.changes:
            words = words.updated(understand(text))
            changes.append(Change(words, spot))
        return WorldPlan(self.seed, base, tuple(changes), self.picture, self.place)

    @property
    def words(self) -> Words:
        """Return the words of all its texts together, which hold far from where they were said."""
        words = understand(self.text).updated(Words())
        for text, _ in self.changes:
            words = words.updated(understand(text))
        return words

    def changed(self, text: str, spot: Spot) -> Land:
        """The land after `text` was said on tile `spot`; itself where that asks for nothing new there."""
        newer = understand(text)
        said = self.words.updated(newer)
        if not newer.changes_land or said == self.words or len(self.changes) >= MAX_CHANGES:
            return self
        return replace(self, changes=(*self.changes, (text, spot)))

    def same_tile(self, spot: Spot, older: Land) -> bool:
        """Return True if tile `spot` is the same as in `older`, of which this land has one more text."""
        if older != replace(self, changes=self.changes[:-1]):
            return False
        change = Change(Words(), self.changes[-1][1])
        return not any(change.reaches(*near) for near in closure(spot))


def closure(spot: Spot) -> set[Spot]:
    """Tile `spot` and all tiles that it is dreamed from."""
    found, fresh = {spot}, [spot]
    while fresh:
        new = set(known_neighbours(*fresh.pop())) - found
        found |= new
        fresh += new
    return found


def next_missing(spot: Spot, there: Set[Spot]) -> Spot | None:
    """Return the tile to dream next so that tile `spot` can be dreamed; None if it is `there`."""
    if spot in there:
        return None
    for neighbour in known_neighbours(*spot):
        if neighbour not in there:
            return next_missing(neighbour, there)
    return spot


def spot_of(x: float, z: float) -> Spot:
    """The tile on which a position in metres lies."""
    return int(x // TILE_METRES), int(z // TILE_METRES)


def centre_of(spot: Spot) -> tuple[float, float]:
    """The middle of a tile in metres."""
    return (spot[0] + 0.5) * TILE_METRES, (spot[1] + 0.5) * TILE_METRES
