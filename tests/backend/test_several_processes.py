"""The served app in two processes: visitors see what one process shows, and no process outlives the others."""

from __future__ import annotations

import io
import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import av
import numpy as np
import pytest
from websockets.sync.client import connect

from tests.backend.harness import Visitor
from tests.processes import ROOT, Process, ranks, start

pytestmark = pytest.mark.slow

PATIENCE = 120.0
COMMAND = ["-m", "backend", "--port", "0", "--no-browser", "--rewind-every", "1"]


class Server:
    """A served world in `size` processes, started as torchrun starts them, whose ends can be watched one by one."""

    def __init__(self, size: int, peer_timeout: float = 60.0) -> None:
        common = {"PYTHONPATH": str(ROOT), "FLASHDREAMS_PEER_TIMEOUT": str(peer_timeout)}
        self.processes: list[Process] = []
        self.said = ["" for _ in range(size)]
        self._open = threading.Event()
        self._readers = []
        for rank, own in enumerate(ranks(size) if size > 1 else [{}]):
            reading, writing = os.pipe()
            self.processes.append(start(COMMAND, writing, environment=os.environ | common | own))
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
def served(size: int, peer_timeout: float = 60.0) -> Iterator[Server]:
    server = Server(size, peer_timeout)
    try:
        yield server
    finally:
        server.stop()
        print(*server.said, sep="\n")  # pytest shows it where a test fails


def pictures(size: int) -> np.ndarray:
    """The pictures of a visit: the opening of a place, its first moment again, and another place."""
    with served(size) as server, server.visit() as visitor:
        visitor.send("start", seed=5, scene="meadow")
        for kind, fields, last in (("", {}, 1), ("rewind", {"chunk": 0}, 2), ("scene", {"scene": "snow"}, 5)):
            if kind:
                visitor.send(kind, **fields)
            while visitor.wait("chunk", PATIENCE)["index"] < last:
                pass
        server.processes[0].send_signal(signal.SIGINT)
        assert [server.wait(rank) for rank in range(size)] == [0] * size, server.said
    with av.open(io.BytesIO(b"".join(visitor.media))) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])


def test_visitors_of_two_processes_see_what_one_process_shows() -> None:
    alone, together = pictures(1), pictures(2)
    assert alone.shape == together.shape and len(alone) == 21
    error = ((alone.astype(float) - together) ** 2).mean(axis=(1, 2, 3))
    psnr = 10 * np.log10(255**2 / error.max().clip(1e-9))
    print(f"{len(alone)} frames, at least {psnr:.1f} dB alike")
    assert psnr > 30


def test_a_process_that_is_killed_ends_the_others() -> None:
    with served(2, peer_timeout=10.0) as server:
        with server.visit() as visitor:
            visitor.send("start", seed=5)
            visitor.wait("chunk", PATIENCE)
            server.processes[1].kill()
            assert server.wait(0) == 1
        assert "process 1 of 2 has given no sign of life for 10 seconds: process 0 of 2 ends too" in server.said[0]
    with served(2, peer_timeout=10.0) as server:
        server.visit().socket.close()
        server.processes[0].kill()
        assert server.wait(1) == 1
        assert "process 1 of 2 ends too" in server.said[1]
