"""Threads that dream tiles beside everything else: those that somebody waits for at once, others ahead of visitors.

Whenever a tile is dreamed, and by which thread, it is the same: all of it happens on one thread with one core.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from flashdreams.integrations.pocket.tiles.lands import Land, Spot, next_missing
from flashdreams.integrations.pocket.tiles.masks import known_neighbours
from flashdreams.integrations.pocket.tiles.plan import WorldPlan
from flashdreams.integrations.pocket.tiles.store import Sampling, TileSampler
from flashdreams.integrations.pocket.tiles.stored import stored_places
from flashdreams.threads import available_cores

MAX_LANDS = 12
"""Lands whose tiles are kept."""
CAPACITY = 160
"""Tiles kept of each land: 46 kB each."""
MAX_OWNERS = 16
"""Visitors for whom tiles are dreamed ahead; those who moved last."""
IDLE_SECONDS = 5.0
"""A thread that has had nothing to do for this long ends."""
NICENESS = 10
"""Of the threads, where the system knows it for threads."""

_Job = tuple[Land, Spot]


class _Order(NamedTuple):
    """A tile to make, and all that it is made from."""

    land: Land
    spot: Spot
    plan: WorldPlan
    near: dict[Spot, Tensor]
    """The packed tiles beside it that it is dreamed from."""


class _LandTiles:
    """Tiles of one land that are there, the least recently used first."""

    def __init__(self, plan: WorldPlan) -> None:
        self.plan = plan
        self.tiles: OrderedDict[Spot, Tensor] = OrderedDict()
        self.things: dict[Spot, bytes] = {}
        """The same tiles refined, where there is a refinement."""

    @classmethod
    def of(cls, land: Land, refines: bool) -> _LandTiles:
        """Of a `land`, with the tiles of its stored place."""
        result = cls(land.plan())
        if land.place:
            place = stored_places()[land.place]
            result.tiles.update(place.tiles())
            result.things.update(place.refined_tiles() if refines else {})
        return result


class TileWorkers:
    """Tiles of many lands, shared by all who walk in them. All methods may be called from any thread."""

    def __init__(self, sampler: TileSampler, workers: int, *, capacity: int = CAPACITY) -> None:
        if workers < 1:
            raise ValueError(f"workers must be 1 or more, got {workers}")
        self.sampler, self._most, self._capacity = sampler, workers, capacity
        self._lands: OrderedDict[Land, _LandTiles] = OrderedDict()
        self._changed = threading.Condition()
        self._awaited: list[_Job] = []
        self._wanted: OrderedDict[int, tuple[Land, tuple[Spot, ...]]] = OrderedDict()
        self._running: set[_Job] = set()
        self._failure: BaseException | None = None
        self._threads: set[threading.Thread] = set()
        self._drawing = self._passing = 0
        self._beside = available_cores() - 1
        # A thread that is inside torch while the interpreter ends would abort the process.
        known = weakref.ref(self)
        atexit.register(lambda: None if (workers := known()) is None else workers.close())

    def close(self) -> None:
        """End the threads, each after its present pass; no tile can be dreamed any more."""
        with self._changed:
            self._failure = self._failure or RuntimeError("the threads that dream tiles were ended")
            threads = list(self._threads)
            self._changed.notify_all()
        for thread in threads:
            thread.join()

    def get(self, land: Land, spot: Spot) -> Tensor:
        """A tile, packed; waits until it is dreamed. Raises RuntimeError where tiles cannot be dreamed."""
        self._open(land)
        with self._changed:
            tiles = self._tiles_of(land)
            if spot not in tiles:
                self._awaited.append((land, spot))
                self._start_threads()
                self._changed.notify_all()
                try:
                    self._changed.wait_for(lambda: self._failure is not None or spot in self._tiles_of(land))
                finally:
                    self._awaited.remove((land, spot))
                if self._failure is not None:
                    raise RuntimeError("tiles can no longer be dreamed") from self._failure
                tiles = self._tiles_of(land)
            tiles.move_to_end(spot)
            return tiles[spot]

    def has(self, land: Land, spot: Spot) -> bool:
        """Return True if a tile is there."""
        with self._changed:
            return land in self._lands and spot in self._lands[land].tiles

    def kept(self, land: Land, spots: Iterable[Spot]) -> dict[Spot, Tensor]:
        """Return the tiles of `spots` that are there, packed; none is dreamed for it."""
        with self._changed:
            tiles = self._lands[land].tiles if land in self._lands else {}
            return {spot: tiles[spot] for spot in spots if spot in tiles}

    def things(self, land: Land, spot: Spot) -> bytes:
        """The things of a tile in fine cells, see `refinement.things_of`; waits as `get` does.

        Raises KeyError where tiles are not refined.
        """
        while True:
            self.get(land, spot)
            with self._changed:
                if spot in self._tiles_of(land):
                    return self._lands[land].things[spot]

    def want(self, owner: int, land: Land, spots: Sequence[Spot]) -> None:
        """Dream `spots` ahead for `owner`, the first ones first, in place of those that it wanted before."""
        if spots:
            self._open(land)
        with self._changed:
            self._wanted.pop(owner, None)
            if spots:
                self._wanted[owner] = (land, tuple(spots))
                while len(self._wanted) > MAX_OWNERS:
                    self._wanted.popitem(last=False)
                self._start_threads()
                self._changed.notify_all()

    def forget(self, owner: int) -> None:
        """`owner` wants nothing any more."""
        self.want(owner, Land(0), ())

    def derive(self, land: Land, older: Land) -> None:
        """Take over into `land` the tiles of `older` that are the same there."""
        made = _LandTiles(land.plan())
        with self._changed:
            source = self._lands.get(older)
            if source is None or land in self._lands or land.place != older.place:
                return
            self._lands[land] = made
            target = self._tiles_of(land)
            for spot, tile in source.tiles.items():
                if spot in made.plan.stored or land.same_tile(spot, older):
                    target[spot] = tile
                    if spot in source.things:
                        self._lands[land].things[spot] = source.things[spot]

    @contextlib.contextmanager
    def drawing(self) -> Iterator[None]:
        """While this lasts one core is left to the caller, unless somebody waits for a tile."""
        with self._changed:
            self._drawing += 1
        try:
            yield
        finally:
            with self._changed:
                self._drawing -= 1
                self._changed.notify_all()

    @property
    def _may_go_on(self) -> bool:
        """Return True if another thread may begin a pass."""
        return not self._drawing or bool(self._awaited) or self._passing < self._beside

    def _open(self, land: Land) -> None:
        """Have `land` there. A stored place is unpacked for it, which takes long: nobody else waits meanwhile."""
        with self._changed:
            if land in self._lands:
                return
        made = _LandTiles.of(land, self.sampler.refinement is not None)
        with self._changed:
            self._lands.setdefault(land, made)

    def _tiles_of(self, land: Land) -> OrderedDict[Spot, Tensor]:
        if land not in self._lands:
            self._lands[land] = _LandTiles.of(land, self.sampler.refinement is not None)
        self._lands.move_to_end(land)
        while len(self._lands) > MAX_LANDS:
            self._lands.popitem(last=False)
        return self._lands[land].tiles

    def _start_threads(self) -> None:
        while len(self._threads) < self._most and self._failure is None:
            thread = threading.Thread(target=self._work, name=f"tiles-{len(self._threads)}", daemon=True)
            self._threads.add(thread)
            thread.start()

    def _work(self) -> None:
        _be_modest()
        while (order := self._await_order()) is not None:
            try:
                sampling = self.sampler.begin(order.plan, order.spot, order.near)
                tile, things = self._sampled(sampling), None
                if tile is not None:
                    things = self.sampler.refine(sampling, tile)
            except BaseException as error:  # whoever waits must hear of it
                tile, self._failure = None, self._failure or error
            with self._changed:
                self._running.discard((order.land, order.spot))
                if tile is not None:
                    self._keep(order.land, order.spot, tile, things)
                self._changed.notify_all()

    def _await_order(self) -> _Order | None:
        """The most urgent tile; None where there was nothing to do for long, and the thread ends."""
        with self._changed:
            until = time.monotonic() + IDLE_SECONDS
            while self._failure is None:
                found = self._next_order()
                if found is not None:
                    return found
                if not self._changed.wait(max(until - time.monotonic(), 0)):
                    break
            self._threads.discard(threading.current_thread())
            return None

    def _next_order(self) -> _Order | None:
        """The most urgent tile that can be dreamed now."""
        wanted = [(land, spot) for land, spots in self._wanted.values() for spot in spots]
        for land, spot in [*self._awaited, *wanted]:
            tiles = self._tiles_of(land)
            for missing in self._candidates(spot, tiles):
                if (land, missing) not in self._running:
                    self._running.add((land, missing))
                    plan = self._lands[land].plan
                    return _Order(
                        land, missing, plan, {at: tiles[at] for at in known_neighbours(*missing, plan.stored)}
                    )
        return None

    @staticmethod
    def _candidates(spot: Spot, tiles: OrderedDict[Spot, Tensor]) -> Iterator[Spot]:
        """Tiles that `spot` needs and that can be dreamed now."""
        there = set(tiles)
        while (missing := next_missing(spot, there)) is not None:
            if all(near in tiles for near in known_neighbours(*missing)):
                yield missing
            there.add(missing)

    def _sampled(self, sampling: Sampling) -> Tensor | None:
        """The finished tile; None where the threads are ended before."""
        tile = None
        while tile is None:
            with self._changed:
                self._changed.wait_for(lambda: self._may_go_on or self._failure is not None)
                if self._failure is not None:
                    return None
                self._passing += 1
            try:
                tile = self.sampler.advance(sampling)
            finally:
                with self._changed:
                    self._passing -= 1
                    self._changed.notify_all()
        return tile

    def _keep(self, land: Land, spot: Spot, tile: Tensor, things: bytes | None) -> None:
        tiles, refined = self._tiles_of(land), self._lands[land].things
        tiles[spot] = tile
        if things is not None:
            refined[spot] = things
        stored = self._lands[land].plan.stored
        for old in [spot for spot in tiles if spot not in stored][: max(len(tiles) - self._capacity, 0)]:
            del tiles[old]
            refined.pop(old, None)


def _be_modest() -> None:
    """One core for this thread, after all others."""
    torch.set_num_threads(1)
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
