"""Time per chunk and the server's memory over a long walk: neither may grow."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from websockets.sync.client import ClientConnection, connect

from benchmarks.common import growth_percent, log_progress, machine, report, summary
from benchmarks.server import Server, running_server

WARM_UP = 100
"""Chunks before the measured ones: the KV window fills, allocators find their size."""
SAMPLE_EVERY = 10
"""Chunks from one look at the memory to the next."""
PATIENCE = 120
"""Seconds without a message after which the walk is given up."""
MOVES = (["w"], ["w", "d"], ["w"], ["w", "a"])
MOVE_FOR = 12
"""Chunks that each of `MOVES` is held."""
SMALL_RINGS = (
    "--rewind-minutes",
    "0.2",
    "--rewind-mib",
    "64",
    "--recording-minutes",
    "0.2",
    "--save-minutes",
    "0.2",
)
"""Bounds of a session's history, so tight that all of it is full before measuring begins."""


def open_socket(server: Server) -> ClientConnection:
    """A new connection, as plain as a browser's on the same machine."""
    return connect(server.socket_url, max_size=2**24, compression=None, origin=None)


class Visitor:
    """A visitor without a screen: holds keys, and says of every chunk at once that it was shown."""

    def __init__(self, socket: ClientConnection, world: str, **start: object) -> None:
        """Begins to play, or what the fields of `start` say instead; returns once the server is ready."""
        self._socket = socket
        self._seq = 0
        self.messages: dict[str, dict[str, Any]] = {}
        """The newest message of each type."""
        self.send("start", **(start or {"world": world, "seed": 7}))
        while self._receive().get("type") != "ready":
            pass
        self.ready = self.messages["ready"]

    def send(self, kind: str, **fields: object) -> int:
        """One message of the protocol; returns its seq."""
        self._seq += 1
        self._socket.send(json.dumps({"type": kind, "seq": self._seq, **fields}))
        return self._seq

    def next_chunk(self) -> dict[str, Any]:
        """The next chunk's message, its fragment received. Raises RuntimeError where the server reports an error."""
        while (told := self._receive()).get("type") != "chunk":
            pass
        self._socket.recv(timeout=PATIENCE)
        return told

    def show_chunk(self) -> dict[str, Any]:
        """The next chunk, and the server is told that it is on the screen."""
        chunk = self.next_chunk()
        self.send("shown", chunk=chunk["index"])
        return chunk

    def _receive(self) -> dict[str, Any]:
        """The next message that is text, as an object."""
        while isinstance(message := self._socket.recv(timeout=PATIENCE), bytes):
            pass
        told: dict[str, Any] = json.loads(message)
        if told["type"] in ("error", "ended"):
            raise RuntimeError(f"the server said: {told}")
        self.messages[told["type"]] = told
        return told


def hold_keys(server: Server, world: str, chunks: int) -> dict[str, Any]:
    """Walks `chunks` chunks at the world's own pace."""
    milliseconds: dict[str, list[float]] = {"generate": [], "encode": [], "finalize": []}
    memory: list[float] = []
    intervals: list[float] = []
    with open_socket(server) as socket:
        visitor = Visitor(socket, world)
        before = time.perf_counter()
        for number in range(WARM_UP + chunks):
            if number % MOVE_FOR == 0:
                visitor.send("keys", down=MOVES[number // MOVE_FOR % len(MOVES)])
            chunk = visitor.show_chunk()
            now = time.perf_counter()
            if number >= WARM_UP:
                for stage, series in milliseconds.items():
                    series.append(chunk["timings"][stage])
                intervals.append(1000 * (now - before))
                if number % SAMPLE_EVERY == 0:
                    memory.append(server.memory_bytes() / 2**20)
            before = now
            if number % 200 == 0:
                log_progress(f"chunk {number} of {WARM_UP + chunks}")
    return {
        "chunks": chunks,
        "ms": {stage: summary(series) for stage, series in milliseconds.items()},
        "ms_between_chunks": summary(intervals),
        "memory_mib": {"first": round(memory[0], 1), "last": round(memory[-1], 1), **summary(memory, 1)},
        "growth_percent_over_the_walk": {
            "generate": round(growth_percent(milliseconds["generate"]), 3),
            "finalize": round(growth_percent(milliseconds["finalize"]), 3),
            "memory": round(growth_percent(memory), 3),
        },
    }


def main() -> None:
    """Prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--world", default="pocket")
    parser.add_argument("--chunks", type=int, default=2000)
    arguments = parser.parse_args()
    if arguments.chunks < 3 * SAMPLE_EVERY:
        parser.error(f"--chunks must be {3 * SAMPLE_EVERY} or more")
    before = machine()
    with running_server(arguments.world, *SMALL_RINGS) as server:
        server.wait("ok")
        result = hold_keys(server, arguments.world, arguments.chunks)
    report("steady", before, {"world": arguments.world, **result})


if __name__ == "__main__":
    main()
