"""Waits of a world server whose process dies while it loads, with a store and processes that are made up."""

from __future__ import annotations

from backend.cluster.starts import Starts


class Kept:
    """A store that outlives the made up processes."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    def get(self, key: str) -> bytes | None:
        return self.values.get(key)

    def put(self, key: str, value: bytes) -> None:
        self.values[key] = value

    def delete(self, key: str) -> None:
        self.values.pop(key, None)


def begin(store: Kept, server: str = "world-0") -> tuple[Starts, float]:
    """A process of a server, and the seconds that it waited before it loaded."""
    waits: list[float] = []
    told: list[tuple[int, float]] = []
    starts = Starts(server, store)
    starts.begin(waits.append, lambda died, wait: told.append((died, wait)))
    assert [wait for _, wait in told] == waits, "whoever waits says so before"
    return starts, sum(waits)


def test_each_process_that_dies_while_it_loads_makes_the_next_one_wait_twice_as_long() -> None:
    store = Kept()
    assert [begin(store)[1] for _ in range(9)] == [0, 5, 10, 20, 40, 80, 160, 300, 300]
    assert begin(store, "world-1")[1] == 0, "each server has waits of its own"


def test_a_process_that_loaded_and_dies_later_is_followed_at_once() -> None:
    store = Kept()
    begin(store)
    starts, waited = begin(store)
    assert waited == 5
    starts.loaded()
    assert begin(store)[1] == 0
    assert begin(store)[1] == 5, "the first of a new row"


def test_a_thousand_deaths_are_as_good_as_ten() -> None:
    store = Kept()
    begin(store)
    store.values = dict.fromkeys(store.values, b"1000")
    assert begin(store)[1] == 300
