"""Processes that work together watch one another: where one is gone, the others end and say why."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta

import torch.distributed as dist

BEATS = 8
"""Signs of life within the time after which a process counts as gone."""
MOST_SECONDS_BETWEEN_BEATS = 2.0
GONE_STATUS = 1
"""Exit status of a process that ends because another one is gone."""

_DONE, _FAILED = "done", "failed "
_NO_STORE = "the process at which the others met is gone"


def connect(name: str) -> dist.Store:
    """Return a separate connection to the launched processes' rendezvous store, for keys of `name`."""
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = dist.TCPStore(host, port, is_master=False, wait_for_workers=False, timeout=timedelta(seconds=60))
    return dist.PrefixStore(f"flashdreams/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}/{name}", store)


class Heartbeat:
    """This process's signs of life, and its eye on the others'.

    A thread writes a sign of life often and reads those of the others. A process without any for `timeout` seconds,
    or that says it has failed, makes this one write a sentence to its error output and end. Time in which this process
    stood still does not count: a machine that was asleep was so for all of them.
    """

    def __init__(self, rank: int, size: int, timeout: float, end: Callable[[int], object] = os._exit) -> None:
        self.rank, self.size, self.timeout = rank, size, timeout
        self.every = min(timeout / BEATS, MOST_SECONDS_BETWEEN_BEATS)
        self._end = end
        self._state, self._beat = "", 0
        self._store, self._said = connect("peers"), connect("said")
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._awake = 0.0
        self._heard: dict[int, tuple[str, float]] = {}  # what each said last, and when, in seconds awake
        self._thread = threading.Thread(target=self._watch, name="peers", daemon=True)
        self._thread.start()

    def done(self) -> None:
        """Say that this process ends as it should, and stop watching.

        Waits up to `timeout` seconds for the others: the first process until they end too, since the store may end with
        it, each other one until they have joined, since who is joining still takes a closed connection for a failure.
        """
        if self._stopped.is_set():
            return
        self._stopped.set()
        self._tell(self._state or _DONE)
        until = time.monotonic() + self.timeout
        enough = self._all_have_ended if self.rank == 0 else self._all_have_joined
        while not self._state and time.monotonic() < until and not enough():
            time.sleep(0.05)

    def _all_have_ended(self) -> bool:
        others = (self._read(rank) for rank in range(1, self.size))
        return all(text == _DONE or text.startswith(_FAILED) for text in others)

    def _all_have_joined(self) -> bool:
        return all(self._read(rank) for rank in range(self.size))

    def failed(self, sentence: str) -> bool:
        """Say that this process ends for `sentence`; answers whether it is the first that says so."""
        self._state = _FAILED + sentence
        try:
            first = self._said.compare_set("sentence", "", f"{self.rank} {sentence}").decode()
        except RuntimeError:
            self._leave(_NO_STORE)
            return True
        self._tell(self._state)
        rank, said = first.split(" ", 1)
        return int(rank) == self.rank or said != sentence

    def is_done(self, rank: int) -> bool:
        """Return True if process `rank` has ended as it should."""
        return self._heard.get(rank, ("", 0.0))[0] == _DONE

    def wait_for_failure(self) -> None:
        """Wait until every other process has given a sign of life, or until one is found gone, which ends this one."""
        asked, others = self._awake, [rank for rank in range(self.size) if rank != self.rank]
        until = time.monotonic() + 2 * self.timeout
        while time.monotonic() < until:
            heard = [self._heard.get(rank, ("", 0.0)) for rank in others]
            if all(at > asked or text == _DONE or text.startswith(_FAILED) for text, at in heard):
                return
            time.sleep(self.every)

    def _tell(self, text: str) -> None:
        with self._lock:
            try:
                self._store.set(str(self.rank), text)
            except RuntimeError:  # the store has ended with the process or launcher that kept it
                if not self._stopped.is_set():
                    self._leave(_NO_STORE)

    def _watch(self) -> None:
        before = time.monotonic()
        while not self._stopped.is_set():
            now = time.monotonic()
            self._awake += min(now - before, 2 * self.every)
            before = now
            self._beat += 1
            self._tell(self._state or str(self._beat))
            for rank in range(self.size):
                if rank != self.rank and (reason := self._failure_of(rank)):
                    self._leave(reason)
            self._stopped.wait(self.every)

    def _failure_of(self, rank: int) -> str | None:
        """Return the reason for which process `rank` ends this one; None if it does not."""
        text, who = self._read(rank), f"process {rank} of {self.size}"
        before, since = self._heard.get(rank, ("", 0.0))
        if text != before:
            self._heard[rank] = (text, self._awake)
        if text.startswith(_FAILED) and not self._state:
            return f"{who} has failed ({text.removeprefix(_FAILED)})"
        if text == before and text != _DONE and not text.startswith(_FAILED) and self._awake - since > self.timeout:
            return f"{who} has given no sign of life for {self.timeout:g} seconds"
        return None

    def _read(self, rank: int) -> str:
        with self._lock:
            try:
                return self._store.get(str(rank)).decode() if self._store.check([str(rank)]) else ""
            except RuntimeError:
                return _FAILED + _NO_STORE

    def _leave(self, reason: str) -> None:
        sentence = f"{reason}: process {self.rank} of {self.size} ends too"
        print(f"flashdreams: {sentence}", file=sys.stderr, flush=True)
        self._end(GONE_STATUS)
