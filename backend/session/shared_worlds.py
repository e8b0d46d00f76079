"""Worlds with several visitors: what one changes reaches the others, each at a border of their own chunks.

A world is what the address names: scene, seed, words and start picture. Its changes are kept while somebody is in it.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

from backend.clock import Clock, monotonic
from backend.engine.history import Beginning
from flashdreams.infra.world.changes import MAX_CHANGE_CHARACTERS, MAX_CHANGES, WorldChange

MAX_STANDING = 128
"""Changes kept of a world; one more takes the place of the oldest of the visitor who has most of them."""
CHANGES_PER_SECOND = 4.0
"""Changes of one visitor that the others get; more wait."""
BURST = 16
"""Changes of one visitor that the others get at once after a pause."""
MAX_REMEMBERED = 512
"""Changes that a visitor is remembered to have made, and to have undone of others."""

Identity = tuple[str, int, str, str]


def identity(beginning: Beginning | None) -> Identity | None:
    """Return what a world is told from others by; None for one that is shared with nobody."""
    if beginning is None or beginning.replayed:
        return None
    return beginning.scene, beginning.seed, (beginning.text or "").strip(), beginning.image or ""


@dataclass(eq=False)
class SharedWorld:
    """Changes that stand in a world by its visitors' hands. Not thread-safe: `SharedWorlds.lock` is held."""

    standing: list[str] = field(default_factory=list)
    """Changes in their order."""
    owners: dict[str, int] = field(default_factory=dict)
    """Number of the visitor of each of them."""
    visits: set[Visit] = field(default_factory=set)
    seeded: bool = False
    """False until its first visitor has told what stands there."""

    def put(self, text: str, owner: int, before: Sequence[str] = ()) -> None:
        """Let a change stand, right after the last of those `before` it that stand."""
        self.standing.insert(_place(self.standing, before), text)
        self.owners[text] = owner
        if len(self.standing) > MAX_STANDING:
            counts = Counter(self.owners.values())
            most = max(counts.values())
            self.take(next(one for one in self.standing if counts[self.owners[one]] == most))

    def take(self, text: str) -> int:
        """Let a change stand no more; returns whose it was."""
        self.standing.remove(text)
        return self.owners.pop(text)


class SharedWorlds:
    """The worlds that visitors of this server are in. Safe to use from several threads."""

    def __init__(self, clock: Clock = monotonic) -> None:
        self.clock, self.lock = clock, threading.Lock()
        self.worlds: dict[Identity, SharedWorld] = {}
        self._numbers = count(1)

    def visit(self, wake: Callable[[], object], *, keeps: bool = False) -> Visit:
        """Return a new visitor, who is in no world yet.

        Args: `wake` is called, from any thread, when others have changed the visitor's world; `keeps` is for a session
        of another server: what it brings counts as its own.
        """
        return Visit(self, next(self._numbers), wake, keeps=keeps)


class Visit:
    """One session among the visitors of its world: the world's changes in, the session's own out.

    All changes of the session's rollout are compared with those of the world before each chunk. So a rewind needs no
    rule of its own: what the visitor made after that moment is taken back from everybody, what others did comes again
    with the next chunk.
    """

    def __init__(self, worlds: SharedWorlds, number: int, wake: Callable[[], object], *, keeps: bool = False) -> None:
        self.number, self.wake = number, wake
        self._worlds, self._keeps = worlds, keeps
        self._key: Identity | None = None
        self._mine: OrderedDict[str, None] = OrderedDict()
        self._published: OrderedDict[str, None] = OrderedDict()
        """Of mine, those that the others know."""
        self._undone: OrderedDict[str, None] = OrderedDict()
        """Changes of others that this visitor undid: what a rewind brings back of them counts as the visitor's own."""
        self._expected: tuple[str, ...] = ()
        self._allowance, self._at = float(BURST), worlds.clock()

    def enter(self, beginning: Beginning | None) -> None:
        """Be in the world of a rollout's beginning from now on; None where that is not known any more."""
        key = identity(beginning)
        with self._worlds.lock:
            if key != self._key:
                self._leave()
                self._key = key
                if key is not None:
                    self._worlds.worlds.setdefault(key, SharedWorld()).visits.add(self)

    def leave(self) -> None:
        """Be in no world any more. What a visitor changed stays for the others who are there."""
        self.enter(None)

    def _leave(self) -> None:
        if self._key is not None and (world := self._worlds.worlds.get(self._key)) is not None:
            world.visits.discard(self)
            if not world.visits:
                del self._worlds.worlds[self._key]

    def incoming(self, standing: tuple[str, ...]) -> tuple[WorldChange, ...]:
        """Return the changes that the next chunk begins with, of a rollout in which `standing` stand."""
        with self._worlds.lock:
            world = None if self._key is None else self._worlds.worlds[self._key]
            if world is None:
                return ()
            self._refill()
            self._seed(world, standing)
            if self._compare(world, standing):
                self._wake_others(world)
            changes, self._expected = self._difference(world, standing)
            return changes

    def done(self, standing: tuple[str, ...]) -> None:
        """Take note of what stands after the chunk: the difference is what the visitor did in it."""
        with self._worlds.lock:
            world = None if self._key is None else self._worlds.worlds[self._key]
            if world is None or standing == self._expected:
                return
            here, told = set(standing), False
            for text in standing:
                if text not in self._expected:
                    _remember(self._mine, text)
                    self._published.pop(text, None)
            for text in self._expected:
                if text not in here and world.owners.get(text, self.number) != self.number and self._may_tell(world):
                    world.take(text)
                    _remember(self._undone, text)
                    told = True
            if self._compare(world, standing) or told:
                self._wake_others(world)

    def _seed(self, world: SharedWorld, standing: tuple[str, ...]) -> None:
        """Let all that the first visitor has stand, and all that a session of another server brings."""
        if not world.seeded or self._keeps:
            for text in standing:
                _remember(self._mine, text)
            if not world.seeded:
                self._published.clear()
                self._undone.clear()
        world.seeded, self._keeps = True, False

    def _compare(self, world: SharedWorld, standing: tuple[str, ...]) -> bool:
        """Tell the world what of `standing` is this visitor's doing; return True if that changed it."""
        here, changed = set(standing), False
        for text in [one for one in world.standing if world.owners[one] == self.number and one not in here]:
            if self._may_tell(world):
                world.take(text)
                self._published.pop(text, None)
                changed = True
        for number, text in enumerate(standing):
            if text in world.owners or len(text) > MAX_CHANGE_CHARACTERS:
                continue
            if self._keeps_back(text) and self._may_tell(world):
                world.put(text, self.number, standing[:number])
                self._undone.pop(text, None)
                _remember(self._mine, text)
                _remember(self._published, text)
                changed = True
        return changed

    def _difference(
        self, world: SharedWorld, standing: tuple[str, ...]
    ) -> tuple[tuple[WorldChange, ...], tuple[str, ...]]:
        """Return the changes that lead from `standing` to what the world has, and what stands after them.

        What the visitor made and the others do not know yet stays.
        """
        if list(standing) == world.standing:
            return (), standing
        here = set(standing)
        wanted = [one for one in world.standing if one in here or world.owners[one] != self.number]
        for number, text in enumerate(standing):
            if text not in world.owners and self._keeps_back(text):
                wanted.insert(_place(wanted, standing[:number]), text)
        now, kept = list(standing), set(wanted)
        changes: list[WorldChange] = []
        for text in standing:
            if text not in kept and len(changes) < MAX_CHANGES:
                now.remove(text)
                changes.append(WorldChange(text=text))
        for at, text in enumerate(wanted):
            if len(changes) < MAX_CHANGES and now[at : at + 1] != [text]:
                if text in now:
                    now.remove(text)
                now.insert(at, text)
                owner = world.owners.get(text, self.number)
                changes.append(WorldChange(text=text, at=at, by=0 if owner == self.number else owner))
        return tuple(changes), tuple(now)

    def _keeps_back(self, text: str) -> bool:
        """Return True for what this visitor made or brought back, where the others do not know it yet."""
        return text in self._undone or (text in self._mine and text not in self._published)

    def _may_tell(self, world: SharedWorld) -> bool:
        """Spend one of the changes that the others may get now; alone, a visitor is not limited."""
        if len(world.visits) > 1:
            if self._allowance < 1:
                return False
            self._allowance -= 1
        return True

    def _refill(self) -> None:
        now = self._worlds.clock()
        self._allowance = min(BURST, self._allowance + (now - self._at) * CHANGES_PER_SECOND)
        self._at = now

    def _wake_others(self, world: SharedWorld) -> None:
        for visit in world.visits:
            if visit is not self:
                visit.wake()


def _place(texts: list[str], before: Sequence[str]) -> int:
    """Return the position right after the last of those `before` that is in `texts`."""
    there = set(texts)
    last = next((one for one in reversed(before) if one in there), None)
    return 0 if last is None else texts.index(last) + 1


def _remember(known: OrderedDict[str, None], text: str) -> None:
    known[text] = None
    known.move_to_end(text)
    if len(known) > MAX_REMEMBERED:
        known.popitem(last=False)
