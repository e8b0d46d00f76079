"""The served app in two processes: visitors see what one process shows, and no process outlives the others."""

from __future__ import annotations

import io
import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import av
import numpy as np
import pytest
from websockets.sync.client import connect

from backend.settings import Settings, world_config
from tests.backend.harness import Visitor, running
from tests.processes import ROOT, Process, ranks, start

pytestmark = pytest.mark.slow

PATIENCE = 120.0
PEER_SECONDS = 10.0
"""Silence after which a process counts as gone."""
COMMAND = ["-m", "backend", "--port", "0", "--no-browser", "--rewind-every", "1"]
"""The app with its own world."""
FAKE = ["-c", "from tests.backend.fakes import main; raise SystemExit(main(['--shared', '--port', '0']))"]
"""The app with the fake world."""


class Server:
    """A served world in `size` processes, started as torchrun starts them, whose ends can be watched one by one."""

    def __init__(self, size: int, command: list[str], peer_timeout: float) -> None:
        common = {"PYTHONPATH": str(ROOT), "FLASHDREAMS_PEER_TIMEOUT": str(peer_timeout)}
        self.processes: list[Process] = []
        self.said = ["" for _ in range(size)]
        self._open = threading.Event()
        self._readers = []
        for rank, own in enumerate(ranks(size)):
            reading, writing = os.pipe()
            self.processes.append(start(command, writing, environment=os.environ | common | own))
            os.close(writing)
            self._readers.append(threading.Thread(target=self._read, args=(rank, reading), daemon=True))
            self._readers[rank].start()

    def _read(self, rank: int, reading: int) -> None:
        with open(reading) as stream:
            for line in stream:
                self.said[rank] += line
                if "Open http" in line:
                    self._open.set()

    def visit(self) -> Visitor:
        assert self._open.wait(PATIENCE), self.said
        address = re.search(r"Open http://(\S+?)/", self.said[0])
        assert address is not None
        return Visitor(connect(f"ws://{address[1]}/ws/play", open_timeout=PATIENCE).__enter__())

    def wait(self, rank: int) -> int:
        status = self.processes[rank].wait(PATIENCE)
        self._readers[rank].join(PATIENCE)
        return status

    def stop(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()


@contextmanager
def served(size: int, command: list[str], peer_timeout: float = 60.0) -> Iterator[Server]:
    server = Server(size, command, peer_timeout)
    try:
        yield server
    finally:
        server.stop()
        print(*server.said, sep="\n")  # pytest shows it where a test fails


def play(visitor: Visitor) -> np.ndarray:
    """The pictures of a visit: the opening of a place and steps, its first moment again, and another place.

    By steps: else it is up to the time at which a message comes which chunk it acts in.
    """
    visitor.send("start", seed=5, scene="place-meadow", stepwise=True)
    for kind, fields in (
        ("", {}),
        ("step", {"keys": ["w"]}),
        ("rewind", {"chunk": 0}),
        ("step", {"keys": ["d"]}),
        ("step", {"scene": "place-snow"}),
        ("step", {"keys": ["w"]}),
    ):
        if kind:
            visitor.send(kind, **fields)
        if kind != "rewind":
            visitor.wait("chunk", PATIENCE)
    with av.open(io.BytesIO(b"".join(visitor.media))) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])


def test_visitors_of_two_processes_see_what_one_process_shows() -> None:
    config = replace(world_config(Settings()), adapts=False)  # as several processes have it
    with running(config, world=config.slug, rewind_every=1) as server, server.visit() as visitor:
        alone = play(visitor)
    with served(2, COMMAND) as several, several.visit() as visitor:
        together = play(visitor)
        several.processes[0].send_signal(signal.SIGINT)
        assert [several.wait(rank) for rank in range(2)] == [0, 0], several.said
    assert alone.shape == together.shape and len(alone) == 17
    assert np.abs(alone[-1].astype(float) - alone[0]).mean() > 10, "another place does not look like the first one"
    error = ((alone.astype(float) - together) ** 2).mean(axis=(1, 2, 3))
    psnr = 10 * np.log10(255**2 / error.max().clip(1e-9))
    print(f"{len(alone)} frames, at least {psnr:.1f} dB alike")
    assert psnr > 30


def test_a_process_that_is_killed_ends_the_others() -> None:
    """The last one of one app and the first one of another are killed, side by side: the waiting is the same."""
    with served(2, FAKE, PEER_SECONDS) as first, served(2, FAKE, PEER_SECONDS) as other:
        with first.visit() as visitor:
            visitor.send("start", seed=5)
            visitor.wait("chunk", PATIENCE)
            other.visit().socket.close()
            first.processes[1].kill()
            other.processes[0].kill()
            assert first.wait(0) == 1 and other.wait(1) == 1
        gone = f"process 1 of 2 has given no sign of life for {PEER_SECONDS:g} seconds: process 0 of 2 ends too"
        assert gone in first.said[0]
        assert "process 1 of 2 ends too" in other.said[1]
