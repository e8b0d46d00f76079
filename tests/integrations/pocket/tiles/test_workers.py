"""Threads that dream tiles: who waits for whom."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from flashdreams.integrations.pocket.tiles import workers as module
from flashdreams.integrations.pocket.tiles.lands import Land, Spot
from flashdreams.integrations.pocket.tiles.store import TileSampler
from flashdreams.integrations.pocket.tiles.stored import SPOTS, stored_places
from flashdreams.integrations.pocket.tiles.workers import TileWorkers

PLACE = Land(1, place=next(iter(stored_places())))


class SlowPlaces:
    """Stored places without anything in them, which take until `go` to be read."""

    def __init__(self) -> None:
        self.reading, self.go, self.reads = threading.Event(), threading.Event(), 0

    def __getitem__(self, name: str) -> Any:
        self.reads += 1
        self.reading.set()
        assert self.go.wait(60)
        tiles: dict[Spot, torch.Tensor] = dict.fromkeys(SPOTS, torch.zeros(1, dtype=torch.int8))
        return SimpleNamespace(tiles=lambda: tiles)


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> SlowPlaces:
    made = SlowPlaces()
    monkeypatch.setattr(module, "stored_places", lambda: made)
    return made


def idle_workers() -> TileWorkers:
    """Workers that are never asked to dream."""
    return TileWorkers(cast(TileSampler, SimpleNamespace(refinement=None)), 1)


def test_nobody_waits_while_a_stored_place_is_read_for_another(places: SlowPlaces) -> None:
    workers, found, answered = idle_workers(), [], threading.Event()

    def ask() -> None:
        workers.has(Land(2), (0, 0))
        answered.set()

    reader = threading.Thread(target=lambda: found.append(workers.get(PLACE, (0, 0))))
    other = threading.Thread(target=ask)
    reader.start()
    assert places.reading.wait(60)
    other.start()
    in_time = answered.wait(30)
    before = len(found)
    places.go.set()
    reader.join()
    other.join()
    assert in_time, "it has no need to wait"
    assert before == 0 and len(found) == 1 and workers.has(PLACE, (0, 0))


def test_a_place_that_was_changed_by_words_is_not_read_again(places: SlowPlaces) -> None:
    workers = idle_workers()
    places.go.set()
    workers.get(PLACE, (0, 0))
    changed = PLACE.changed("a tower ahead", (0, 0))
    assert changed != PLACE
    workers.derive(changed, PLACE)
    assert set(workers.kept(changed, SPOTS)) == SPOTS
    assert places.reads == 1
