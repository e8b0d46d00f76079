"""Benchmark of several sessions: frames and answers, one by one and in one pass; resuming, watching, rewinding."""

from __future__ import annotations

import argparse
import json
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from benchmarks.common import log_progress, machine, report, summary
from benchmarks.server import Server, running_server
from benchmarks.steady import Visitor, open_socket

WAYS = {"one_by_one": "off", "in_one_pass": "on"}
"""The ways in which sessions share the model, each with its server, and its `--together`."""
TURN_EVERY = 0.8
"""Seconds from one change of the held keys to the next: each is answered at once, and timed."""
HELD = (["w", "d"], ["w", "a"])
PLAYED = 1.6
"""Seconds that a visitor waits at first, so that the opening and the caches are done."""
TIMES = 10
"""Number of resumes and of joins."""
BACK = (2.0, 5.0, 10.0, 20.0)
"""Seconds to go back."""
STEPS = 6
"""Chunks gone back to at each distance, next to each other."""


def hold_keys(visitor: Visitor, seconds: float) -> dict[str, Any]:
    """Walks for a while, turning now and then; frames a second, and milliseconds from a key to its chunk's arrival."""
    end = time.perf_counter() + PLAYED
    visitor.send("keys", down=["w"])
    while time.perf_counter() < end:
        visitor.show_chunk()
    begin, frames, turns = time.perf_counter(), 0, 0
    asked: tuple[int, float] | None = None
    answers: list[float] = []
    chunks = shared = 0
    while (now := time.perf_counter()) < begin + seconds:
        if now >= begin + turns * TURN_EVERY:
            asked = (visitor.send("keys", down=HELD[turns % 2]), now)
            turns += 1
        chunk = visitor.show_chunk()
        frames += chunk["frames"]
        chunks, shared = chunks + 1, shared + (chunk["rows"] > 1)
        if asked is not None and chunk["seq"] >= asked[0]:
            answers.append(1000 * (time.perf_counter() - asked[1]))
            asked = None
    visitor.send("keys", down=[])
    took = time.perf_counter() - begin
    return {"fps": frames / took, "frames": frames, "answers": answers, "chunks": chunks, "shared": shared}


def together(server: Server, world: str, count: int, seconds: float) -> dict[str, Any]:
    """Several visitors walk at the same time."""
    before, cpu = server.memory_bytes(), server.processor_seconds()
    with ExitStack() as stack, ThreadPoolExecutor(count) as threads:
        sockets = [stack.enter_context(open_socket(server)) for _ in range(count)]
        visitors = [Visitor(socket, world) for socket in sockets]
        walks = list(threads.map(lambda visitor: hold_keys(visitor, seconds), visitors))
        memory, cpu = server.memory_bytes(), server.processor_seconds() - cpu
    wait_for_room(server)
    rates = [one["fps"] for one in walks]
    return {
        "sessions": count,
        "frames_per_second_each": [round(rate, 2) for rate in rates],
        "frames_per_second_together": round(sum(rates), 2),
        "least_share_of_an_even_one": round(min(rates) * count / sum(rates), 3),
        "key_to_chunk_ms": summary([answer for one in walks for answer in one["answers"]]),
        "share_of_chunks_in_one_pass": round(
            sum(one["shared"] for one in walks) / sum(one["chunks"] for one in walks), 3
        ),
        "server_s_processor_ms_per_frame": round(1e3 * cpu / sum(one["frames"] for one in walks), 2),
        "server_memory_mib_more": round((memory - before) / 2**20, 1),
    }


def wait_for_room(server: Server) -> None:
    """Until those who left have given up their places."""
    while (health := server.health()) is None or health["sessions"]:
        time.sleep(0.1)


def timed(work: Callable[[], Any]) -> float:
    """Milliseconds that something takes."""
    begin = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - begin)


def resuming(server: Server, world: str) -> dict[str, float]:
    """Milliseconds from a new connection to the first picture of the dream that the lost one had."""
    socket = open_socket(server)
    visitor = Visitor(socket, world)
    visitor.show_chunk()
    took = []
    for _ in range(TIMES):
        visitor.send("keys", down=["w"])
        for _ in range(3):
            visitor.show_chunk()
        socket.socket.close()  # a line that breaks: nobody says goodbye

        def again() -> None:
            nonlocal socket, visitor
            socket = open_socket(server)
            visitor = Visitor(socket, world, token=visitor.ready["token"])
            visitor.show_chunk()

        took.append(timed(again))
    socket.close()
    wait_for_room(server)
    return summary(took)


def joining(server: Server, world: str) -> dict[str, Any]:
    """Milliseconds from a watcher's connection to its first picture, while the player walks and while it rests."""
    took: dict[str, list[float]] = {"player_walks": [], "player_rests": []}

    def join(token: str) -> float:
        """Goes without a word: a goodbye would wait for all that is still coming."""
        begin = time.perf_counter()
        socket = open_socket(server)
        Visitor(socket, world, watch=token).show_chunk()
        milliseconds = 1000 * (time.perf_counter() - begin)
        socket.socket.close()
        return milliseconds

    with open_socket(server) as socket, ThreadPoolExecutor(1) as thread:
        player = Visitor(socket, world)
        token = player.ready["watch"]
        player.send("keys", down=["w"])
        for _ in range(TIMES):
            walking = thread.submit(lambda: [player.show_chunk() for _ in range(4)])
            time.sleep(0.25)
            took["player_walks"].append(join(token))
            walking.result()
        player.send("keys", down=[])
        for _ in range(TIMES):
            took["player_rests"].append(join(token))
    wait_for_room(server)
    return {name: summary(values) for name, values in took.items()}


def rewinding(server: Server, world: str) -> dict[str, Any]:
    """Milliseconds from `rewind` to the first chunk after the one asked for, and what the kept states take."""
    with open_socket(server) as socket:
        player = Visitor(socket, world)
        player.send("keys", down=["w", "d"])
        per_second = player.ready["fps"] / player.ready["frames_per_chunk"]
        begin = time.perf_counter()
        while time.perf_counter() - begin < BACK[-1] + 5:
            chunk = player.show_chunk()
        player.send("keys", down=[])
        newest = chunk["index"]
        ways = []
        for seconds in BACK:
            asked = newest - round(seconds * per_second)
            # From the newest on: the state kept at each place gone back to is no help for an older one.
            for target in range(asked, asked - STEPS, -1):
                player.messages.pop("rewinding", None)
                took = timed(lambda: rewind(player, target))  # noqa: B023 -- called at once
                ways.append((seconds, took, player.messages.get("rewinding", {}).get("of", 0)))
        history = player.messages["history"]
        told = json.load(urllib.request.urlopen(f"{server.url}/api/sessions", timeout=10))
    wait_for_room(server)
    return {
        "ms": {f"{seconds:g}_s_back": summary([took for s, took, _ in ways if s == seconds]) for seconds in BACK},
        "chunks_dreamed_again": {
            f"{seconds:g}_s_back": summary([float(of) for s, _, of in ways if s == seconds]) for seconds in BACK
        },
        "states_kept": history["snapshots"],
        "bytes_of_a_state": round(history["bytes"] / max(1, history["snapshots"])),
        "limit_bytes": history["limit_bytes"],
        "bytes_of_a_session_s_caches": told["session_bytes"],
    }


def rewind(player: Visitor, target: int) -> None:
    """Goes back; returns once a chunk that continues the one asked for is there."""
    player.send("rewind", chunk=target)
    while player.show_chunk()["parent"] != target:
        pass


def main() -> None:
    """Prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--world", default="pocket")
    parser.add_argument("--seconds", type=float, default=8.0, help="how long the visitors walk together")
    parser.add_argument("--visitors", type=int, nargs="+", default=[1, 2, 4, 8], help="numbers of visitors")
    parser.add_argument("--only-together", action="store_true", help="leave out resuming, watching and rewinding")
    arguments = parser.parse_args()
    if arguments.seconds < 2:
        parser.error("--seconds must be 2 or more")
    before = machine()
    result: dict[str, Any] = {"world": arguments.world, **{name: [] for name in WAYS}}
    options = ("--grace", "2", "--capacity", str(max(arguments.visitors)))
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(running_server(arguments.world, *options, "--together", way))
            for name, way in WAYS.items()
        }
        for server in servers.values():
            server.wait("ok")
        for count in arguments.visitors:
            for name, server in servers.items():
                log_progress(f"{count} walk for {arguments.seconds:g} s, {name}")
                result[name].append(together(server, arguments.world, count, arguments.seconds))
        server = servers["one_by_one"]
        if not arguments.only_together:
            log_progress("resuming and watching")
            result["resume_ms"] = resuming(server, arguments.world)
            result["watcher_s_first_picture_ms"] = joining(server, arguments.world)
            log_progress(f"walking {BACK[-1]:g} s and going back")
            result["rewind"] = rewinding(server, arguments.world)
    report("sessions", before, result)


if __name__ == "__main__":
    main()
