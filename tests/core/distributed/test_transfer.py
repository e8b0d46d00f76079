"""Bytes to and from the first process, between threads that stand for processes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor

from flashdreams.core.distributed import transfer
from flashdreams.core.distributed.transfer import gather_bytes, scatter_bytes

SIZE = 3


class Threads:
    """As much of `torch.distributed` as is needed, with a thread for each rank."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._meet = threading.Barrier(SIZE, timeout=20)
        self._tables: list[Any] = [None] * SIZE
        self._lines = {(a, b): queue.Queue[Tensor]() for a in range(SIZE) for b in range(SIZE)}
        self.sent: list[int] = []

    def run(self, rank: int, work: Callable[[int], Any]) -> Any:
        self._local.rank = rank
        return work(rank)

    def get_world_size(self) -> int:
        return SIZE

    def get_rank(self) -> int:
        return int(self._local.rank)

    def get_backend(self) -> str:
        return "gloo"

    def all_gather(self, into: list[Tensor], mine: Tensor) -> None:
        self._tables[self.get_rank()] = mine.clone()
        self._meet.wait()
        for place, value in zip(into, self._tables, strict=True):
            place.copy_(value)
        self._meet.wait()

    def broadcast(self, value: Tensor, source: int) -> None:
        parts = [torch.zeros_like(value) for _ in range(SIZE)]
        self.all_gather(parts, value)
        value.copy_(parts[source])

    def send(self, piece: Tensor, to: int) -> None:
        self.sent.append(len(piece))
        self._lines[self.get_rank(), to].put(piece.clone())

    def recv(self, piece: Tensor, source: int) -> None:
        piece.copy_(self._lines[source, self.get_rank()].get(timeout=20))


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> tuple[Threads, Callable[[Callable[[int], Any]], list[Any]]]:
    """The stand-in, and a function that does work in all ranks and returns what each returned or raised."""
    threads = Threads()
    monkeypatch.setattr(transfer, "dist", threads)
    monkeypatch.setattr(transfer, "PIECE_BYTES", 4)

    def everywhere(work: Callable[[int], Any]) -> list[Any]:
        with ThreadPoolExecutor(SIZE) as pool:
            futures = [pool.submit(threads.run, rank, work) for rank in range(SIZE)]
            return [future.exception() or future.result() for future in futures]

    return threads, everywhere


PARTS = [b"first", b"", b"ten bytes."]


def test_the_first_process_has_what_all_give(together: Any) -> None:
    threads, everywhere = together
    assert everywhere(lambda rank: gather_bytes(PARTS[rank])) == [PARTS, [], []]
    assert threads.sent == [4, 4, 2], "in pieces"


def test_each_process_has_its_part_of_what_the_first_gives(together: Any) -> None:
    _, everywhere = together
    assert everywhere(lambda rank: scatter_bytes(PARTS if rank == 0 else ())) == PARTS


def test_where_one_has_nothing_to_give_all_are_told_which(together: Any) -> None:
    threads, everywhere = together
    errors = everywhere(lambda rank: gather_bytes(None if rank == 1 else b"x"))
    assert [type(error) for error in errors] == [RuntimeError] * SIZE and not threads.sent
    assert all("process 1 of 3" in str(error) for error in errors)
