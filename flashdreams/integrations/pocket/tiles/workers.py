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


class _LandTiles:
    """Tiles of one land that are there, the least recently used first."""

    def __init__(self, plan: WorldPlan, refines: bool) -> None:
        self.plan = plan
        self.tiles: OrderedDict[Spot, Tensor] = OrderedDict()
        self.things: dict[Spot, bytes] = {}
        """The same tiles refined, where there is a refinement."""
        if plan.place is not None:
            place = stored_places()[plan.place.name]
            self.tiles.update(place.tiles())
            self.things.update(place.refined_tiles() if refines else {})


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
        with self._changed:
            source = self._lands.get(older)
            if source is None or land in self._lands:
                return
            target = self._tiles_of(land)
            for spot, tile in source.tiles.items():
                if land.same_tile(spot, older):
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

    def _tiles_of(self, land: Land) -> OrderedDict[Spot, Tensor]:
        if land not in self._lands:
            self._lands[land] = _LandTiles(land.plan(), self.sampler.refinement is not None)
            while len(self._lands) > MAX_LANDS:
                self._lands.popitem(last=False)
        self._lands.move_to_end(land)
        return self._lands[land].tiles

    def _start_threads(self) -> None:
        while len(self._threads) < self._most and self._failure is None:
            thread = threading.Thread(target=self._work, name=f"tiles-{len(self._threads)}", daemon=True)
            self._threads.add(thread)
            thread.start()

    def _work(self) -> None:
        _be_modest()
        while (found := self._await_job()) is not None:
            land, sampling = found
            try:
                tile, things = self._sampled(sampling), None
                if tile is not None:
                    things = self.sampler.refine(sampling, tile)
            except BaseException as error:  # whoever waits must hear of it
                tile, self._failure = None, self._failure or error
            with self._changed:
                self._running.discard((land, sampling.spot))
                if tile is not None:
                    self._keep(land, sampling.spot, tile, things)
                self._changed.notify_all()

    def _await_job(self) -> tuple[Land, Sampling] | None:
        """The most urgent tile, begun; None where there was nothing to do for long, and the thread ends."""
        with self._changed:
            until = time.monotonic() + IDLE_SECONDS
            while self._failure is None:
                found = self._next_job()
                if found is not None:
                    return found
                if not self._changed.wait(max(until - time.monotonic(), 0)):
                    break
            self._threads.discard(threading.current_thread())
            return None

    def _next_job(self) -> tuple[Land, Sampling] | None:
        """The most urgent tile that can be dreamed now, begun."""
        wanted = [(land, spot) for land, spots in self._wanted.values() for spot in spots]
        for land, spot in [*self._awaited, *wanted]:
            tiles = self._tiles_of(land)
            for missing in self._candidates(spot, tiles):
                if (land, missing) not in self._running:
                    self._running.add((land, missing))
                    return land, self.sampler.begin(self._lands[land].plan, missing, tiles)
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
