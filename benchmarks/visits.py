"""The server's memory over many short visits, one after the other: what a visitor took must come back."""

from __future__ import annotations

import argparse
import time
from typing import Any

from benchmarks.common import log_progress, machine, median_slope, report
from benchmarks.server import Server, running_server
from benchmarks.steady import Visitor, open_socket

CHUNKS = 10
"""Length of a visit in seconds."""
KEYS = (["w"], ["a"], ["w", "d"])
ENDED_SECONDS = 0.5
"""After a visit, until its session has been ended: there is no grace time."""
EVERY = 10
"""Visits from one figure told to the next."""


def visits(server: Server, world: str, count: int) -> dict[str, Any]:
    """`count` visits; the first third is warm-up."""
    memory = [server.memory_bytes() / 2**20]
    for number in range(count):
        with open_socket(server) as socket:
            visitor = Visitor(socket, world)
            visitor.send("keys", down=KEYS[number % len(KEYS)])
            for _ in range(CHUNKS):
                visitor.show_chunk()
        time.sleep(ENDED_SECONDS)
        memory.append(server.memory_bytes() / 2**20)
        if number % EVERY == 0:
            log_progress(f"visit {number} of {count}: {memory[-1]:.0f} MiB")
    warm = memory[count // 3 :]
    return {
        "visits": count,
        "memory_mib": [round(one, 1) for one in memory[::EVERY]],
        "growth_mib_per_100_visits": round(100 * median_slope(range(len(warm)), warm), 2),
    }


def main() -> None:
    """Prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--world", default="pocket")
    parser.add_argument("--visits", type=int, default=120)
    arguments = parser.parse_args()
    if arguments.visits < 2 * EVERY:
        parser.error(f"--visits must be {2 * EVERY} or more")
    before = machine()
    with running_server(arguments.world, "--grace", "0") as server:
        server.wait("ok")
        result = visits(server, arguments.world, arguments.visits)
    report("visits", before, {"world": arguments.world, **result})


if __name__ == "__main__":
    main()
