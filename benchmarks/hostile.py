"""Attacks on a server beside a well-behaved player: its frame rate and latency quiet and during each, as JSON.

    python -m benchmarks.hostile [--world pocket] [--seconds 8] [--messages 100000] [names ...]

Each attack runs in a process of its own. The server may open 256 files. Reported are crashes, tracebacks in the log,
answers of 500, and the memory that is still held 10 s after.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from benchmarks.common import ROOT, log_progress, machine
from benchmarks.hostile_clients import ATTACKS
from benchmarks.server import Server, free_port

OPEN_FILES = 256
REST_SECONDS = 10.0
LOOKS, LOOK_SECONDS = 20, 0.1
"""Looks at the memory of which the lowest counts: a chunk on its way takes some tens of MiB for its time."""
KEEP_LITTLE = ("--grace", "5", "--rewind-minutes", "0", "--recording-minutes", "0")
"""Settings under which memory 10 s after an attack is what the attack holds: not a lost session within its grace time,
nor the player's own states to go back to and its recording, which grow to their bounds while it plays."""
TOGGLE_SECONDS = 0.5
"""A key is pressed or released so often; each is one measurement of latency."""
KEYS = (["w"], ["w", "d"], ["w"], ["w", "a"])


@contextmanager
def hostile_server(world: str) -> Iterator[Server]:
    """Run a server that may open few files; `fake` is the tests' world, whose chunks take 60 ms."""
    port = free_port()
    program = (
        ["tests.backend.fakes", "--port", str(port), "--capacity", "4"]
        if world == "fake"
        else ["backend", "--world", world, "--port", str(port), "--no-browser", "--capacity", "4", *KEEP_LITTLE]
    )
    with TemporaryDirectory() as folder:
        log = Path(folder) / "server.log"
        started = time.perf_counter()
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", *program],
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES)),
            )
        try:
            server = Server(f"http://127.0.0.1:{port}", process, log, started)
            server.wait("ok")
            yield server
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Player:
    """Walks, turns, shows what it gets, and notes when frames and answers come."""

    def __init__(self, server: Server) -> None:
        self._address = server.socket_url
        self._seq = 0
        self._asked: dict[int, float] = {}
        self.frames: list[tuple[float, int]] = []
        self.latencies: list[tuple[float, float]] = []
        self.watch = ""

    async def play(self, ready: asyncio.Event) -> None:
        """Play until cancelled."""
        async with connect(self._address, max_size=2**26, proxy=None) as self._socket:
            await self._send("start", seed=1)
            walking = asyncio.create_task(self._hold_keys())
            try:
                while True:
                    raw = await self._socket.recv()
                    if isinstance(raw, bytes):
                        continue
                    message = json.loads(raw)
                    if message["type"] == "ready":
                        self.watch = str(message.get("watch") or "")
                        ready.set()
                    elif message["type"] == "chunk":
                        await self._take(message)
            finally:
                walking.cancel()

    async def _take(self, chunk: dict[str, Any]) -> None:
        now = time.perf_counter()
        self.frames.append((now, int(chunk["frames"])))
        for seq in [seq for seq in self._asked if seq <= chunk["seq"]]:
            self.latencies.append((now, now - self._asked.pop(seq)))
        await self._send("shown", chunk=chunk["index"])

    async def _hold_keys(self) -> None:
        turn = 0
        while True:
            seq = await self._send("keys", down=KEYS[turn % len(KEYS)])
            self._asked = {seq: time.perf_counter()}
            turn += 1
            await asyncio.sleep(TOGGLE_SECONDS)

    async def _send(self, kind: str, **fields: Any) -> int:
        self._seq += 1
        await self._socket.send(json.dumps({"type": kind, "seq": self._seq, **fields}))
        return self._seq

    def figures(self, begin: float, end: float) -> dict[str, float]:
        """Return frames a second, and the latency from a key to its chunk in milliseconds, between two times."""
        frames = sum(count for at, count in self.frames if begin <= at < end)
        took = [1e3 * seconds for at, seconds in self.latencies if begin <= at < end] or [float("nan")]
        return {
            "fps": round(frames / (end - begin), 2),
            "key_to_chunk_ms_p50": round(float(np.percentile(took, 50)), 1),
            "key_to_chunk_ms_p95": round(float(np.percentile(took, 95)), 1),
        }


async def measure(server: Server, names: list[str], seconds: float, messages: int) -> dict[str, Any]:
    """Return the figures of every attack beside those of a quiet time just before it."""
    player, ready = Player(server), asyncio.Event()
    playing = asyncio.create_task(player.play(ready))
    await asyncio.wait([playing, asyncio.ensure_future(ready.wait())], return_when=asyncio.FIRST_COMPLETED)
    await asyncio.sleep(3)
    results = {}
    for name in names:
        log_progress(f"--- {name}")
        held, lines = await lowest_memory(server), traceback_count(server)
        begin = time.perf_counter()
        await asyncio.sleep(seconds)
        quiet = player.figures(begin, time.perf_counter())
        begin = time.perf_counter()
        command = [sys.executable, "-m", "benchmarks.hostile_clients", name, server.url, player.watch]
        attack = await asyncio.create_subprocess_exec(
            *command, str(seconds), str(messages), cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await attack.communicate()
        during = player.figures(begin, time.perf_counter())
        took = time.perf_counter() - begin
        await asyncio.sleep(REST_SECONDS)
        results[name] = {
            "quiet": quiet,
            "during": during,
            "seconds": round(took, 1),
            **json.loads(output or b"{}"),
            "tracebacks": traceback_count(server) - lines,
            "memory_held_mib": round((await lowest_memory(server) - held) / 2**20, 1),
            "crashed": server.process.poll() is not None,
            "player_lost": playing.done(),
        }
        log_progress(json.dumps(results[name]))
        if playing.done():
            break
    playing.cancel()
    await asyncio.gather(playing, return_exceptions=True)
    return results


async def lowest_memory(server: Server) -> int:
    """Return the lowest of some looks at the server's memory, in bytes."""
    looks = []
    for _ in range(LOOKS):
        looks.append(server.memory_bytes())
        await asyncio.sleep(LOOK_SECONDS)
    return min(looks)


def traceback_count(server: Server) -> int:
    """Return the number of tracebacks in the server's log."""
    return server.log.read_text("utf-8", "replace").count("Traceback (most recent call last)")


def main() -> int:
    """Print the figures; return 1 where the server crashed, wrote a traceback or answered 500."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"some of {', '.join(ATTACKS)}; none means all")
    parser.add_argument("--world", default="pocket", help="slug, or fake for the tests' world")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of an attack")
    parser.add_argument("--messages", type=int, default=100_000, help="mutated messages")
    options = parser.parse_args()
    names = options.names or list(ATTACKS)
    if unknown := set(names) - set(ATTACKS):
        parser.error(f"no attack {', '.join(sorted(unknown))}: choose from {', '.join(ATTACKS)}")
    with hostile_server(options.world) as server:
        results = asyncio.run(measure(server, names, options.seconds, options.messages))
    print(json.dumps({"machine": machine(), "world": options.world, "attacks": results}, indent=1))
    bad = any(one["crashed"] or one["tracebacks"] or one.get("answers_of_500") for one in results.values())
    return int(bad)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (WebSocketException, RuntimeError) as error:
        sys.exit(f"benchmarks.hostile: {error}")
