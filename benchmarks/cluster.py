"""Benchmark of a cluster: visits with Poisson arrivals while servers are killed, added and drained. Needs Ray."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import ray

from backend.cluster.local import LocalCluster
from backend.cluster.world_server import config_from
from benchmarks.cluster_moves import compare_alone, measure_moves, saved_file
from benchmarks.cluster_visits import Player, Visit, alternating_answers
from benchmarks.common import log_progress, machine, report, summary
from benchmarks.server import free_port
from flashdreams.infra.world.base import WorldConfig

SERVERS, PLACES = 4, 4
WORLD = "tests.backend.fakes:small_config"
"""A pattern whose pixels depend on all inputs so far."""
REPLICATE_SECONDS = 2.0
GRACE_SECONDS = 6.0
"""Time for which a server keeps the session of a visitor who has left, or of one that comes again."""
RESUMED_WITHIN = 5.0
"""Seconds that the 95th percentile of resumes should not exceed."""
WATCH_SECONDS = 1.0
"""From one look for sessions that are at two servers to the next."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Size of a run."""

    visits: int
    seconds: float
    """Time over which visits arrive."""
    visit_seconds: float
    """Mean length of a visit."""
    kill_every: float
    presses: int
    """Keys pressed at each door to compare their times."""


FULL = Plan(visits=200, seconds=300, visit_seconds=15, kill_every=60, presses=60)
QUICK = Plan(visits=24, seconds=45, visit_seconds=8, kill_every=20, presses=20)


@dataclass
class Log:
    """Actions taken on the cluster, and what was observed."""

    events: list[str] = field(default_factory=list)
    kills: int = 0
    doubles: int = 0
    """Looks at which a session was at two servers twice in a row."""
    begun: float = field(default_factory=time.perf_counter)

    def add(self, text: str) -> None:
        """Note an event with its time."""
        self.events.append(f"{time.perf_counter() - self.begun:.0f} s: {text}")
        log_progress(self.events[-1])


async def played(cluster: LocalCluster, url: str, visit: Visit) -> Visit:
    """Play a visit; what a resumed one was made from is saved at its end."""
    await Player(url, visit).play()
    if visit.resumes:
        visit.file = await saved_file(cluster.address, visit.token)
    return visit


async def arrivals(cluster: LocalCluster, url: str, plan: Plan, seed: int) -> list[Visit]:
    """Let visitors arrive at random, independently of each other, and return their visits when all have left."""
    draw = random.Random(seed)
    playing: list[asyncio.Task[Visit]] = []
    for number in range(plan.visits):
        visit = Visit(seed=1000 + number, seconds=plan.visit_seconds * draw.uniform(0.5, 1.5))
        playing.append(asyncio.create_task(played(cluster, url, visit)))
        await asyncio.sleep(draw.expovariate(plan.visits / plan.seconds))
    return list(await asyncio.gather(*playing))


async def kill_servers(cluster: LocalCluster, plan: Plan, log: Log) -> None:
    """Kill the process of the busiest server every so often, until cancelled."""
    while True:
        await asyncio.sleep(plan.kill_every)
        tokens = await asyncio.to_thread(cluster.tokens)
        name = max(tokens, key=lambda one: len(tokens[one]))
        pid = await asyncio.to_thread(cluster.pid, name)
        os.kill(pid, signal.SIGKILL)
        log.kills += 1
        log.add(f"{name} was killed with {len(tokens[name])} sessions")


async def scale_and_drain(cluster: LocalCluster, plan: Plan, log: Log) -> None:
    """Add a server after a third of the time, and drain another one after two thirds."""
    await asyncio.sleep(plan.seconds / 3)
    name = await asyncio.wrap_future(cluster.controller.add.remote().future())
    log.add(f"{name} was added")
    await asyncio.sleep(plan.seconds / 3)
    await _drain(cluster, "world-1")
    log.add("world-1 is draining")
    while "world-1" in await asyncio.to_thread(cluster.tokens):
        await asyncio.sleep(0.5)
    log.add("world-1 was stopped")


async def _drain(cluster: LocalCluster, name: str) -> None:
    """Drain a server, which may have been killed just now: then once it is there again."""
    while True:
        try:
            await asyncio.wrap_future(cluster.controller.drain.remote(name).future())
            return
        except (ValueError, ray.exceptions.RayError):
            await asyncio.sleep(0.5)


async def watch_doubles(cluster: LocalCluster, log: Log) -> None:
    """Count sessions that are at two servers for longer than a move takes, until cancelled."""
    before: set[str] = set()
    while True:
        counts = Counter(token for tokens in (await asyncio.to_thread(cluster.tokens)).values() for token in tokens)
        doubled = {token for token, count in counts.items() if count > 1}
        log.doubles += len(doubled & before)
        before = doubled
        await asyncio.sleep(WATCH_SECONDS)


def stories(visits: list[Visit], begun: float) -> list[str]:
    """Return a line for each visit that lost a connection, with the times of all."""
    return [
        f"visit {visit.seed}: {visit.lost or ('stuck' if visit.stuck else 'resumed')} after {visit.chunks} chunks; "
        + ", ".join(f"{seconds - begun:.1f} s {what}" for seconds, what in visit.story)
        for visit in visits
        if visit.lost or visit.stuck or visit.connections > 1
    ]


def check_replays(visits: list[Visit]) -> dict[str, int]:
    """Generate what resumed visits left again in this process, and compare the hashes of all frames."""
    config: WorldConfig = config_from(WORLD)
    files = [visit.file for visit in visits if visit.resumes and visit.file]
    differing = sum(bool(compare_alone(config, file).differing) for file in files)
    return {"compared": len(files), "differing": differing}


async def measure_overhead(cluster: LocalCluster, presses: int) -> dict[str, Any]:
    """Press keys at the front door and straight at a server, in turns, and compare each pair."""
    url = cluster.address.replace("http", "ws", 1) + "/ws/play"
    direct = (await asyncio.to_thread(cluster.server_address, "world-0")).replace("http", "ws", 1) + "/ws/play"
    log_progress(f"{presses} keys at the front door and at a server, in turns")
    cookie = {"cookie": f"flashdreams_access={cluster.secret}"}
    before, load = await asyncio.to_thread(cluster.front_door_seconds), os.getloadavg()[0]
    answers = await alternating_answers({"front_door": (url, {}), "direct": (direct, cookie)}, presses)
    seconds = await asyncio.to_thread(cluster.front_door_seconds) - before
    pairs = np.subtract(answers["front_door"], answers["direct"])
    return {
        "key_to_chunk_from_rest_ms": {name: summary(series) for name, series in answers.items()},
        "front_door_overhead_ms": summary(pairs),
        "front_doors_cpu_ms_per_key": round(1e3 * seconds / presses, 2),
        "load_at_overhead": round(load, 2),
    }


async def run(cluster: LocalCluster, plan: Plan, seed: int) -> dict[str, Any]:
    """Measure the front door, then the visits; returns all figures."""
    url = cluster.address.replace("http", "ws", 1) + "/ws/play"
    overhead = await measure_overhead(cluster, plan.presses)
    log = Log()
    helpers: list[Callable[[], Awaitable[None]]] = [
        lambda: kill_servers(cluster, plan, log),
        lambda: scale_and_drain(cluster, plan, log),
        lambda: watch_doubles(cluster, log),
    ]
    tasks = [asyncio.ensure_future(helper()) for helper in helpers]
    before = await asyncio.to_thread(cluster.front_door_seconds)
    visits = await arrivals(cluster, url, plan, seed)
    seconds = await asyncio.to_thread(cluster.front_door_seconds) - before
    for task in tasks:
        task.cancel()
    failed = [one for one in await asyncio.gather(*tasks, return_exceptions=True) if isinstance(one, Exception)]
    log.events += [f"failed: {type(error).__name__}: {error}" for error in failed]
    return {
        **summed(visits),
        "sessions_at_two_servers": log.doubles,
        "kills": log.kills,
        "replays": check_replays(visits),
        **overhead,
        "front_doors_cpu_ms_per_chunk": round(1e3 * seconds / max(1, sum(visit.chunks for visit in visits)), 2),
        "events": log.events,
        "lost_connections": stories(visits, log.begun),
    }


def summed(visits: list[Visit]) -> dict[str, Any]:
    """Return the figures of all visits together."""
    resumes = [seconds for visit in visits for seconds in visit.resumes]
    answers = [milliseconds for visit in visits for milliseconds in visit.answers]
    return {
        "visits": len(visits),
        "ended_early": dict(Counter(visit.lost for visit in visits if visit.lost)),
        "stuck": sum(visit.stuck for visit in visits),
        "on_a_wrong_session": sum(visit.wrong for visit in visits),
        "waited_in_a_queue": sum(visit.queued for visit in visits),
        "resumed_s": summary(resumes) if resumes else None,
        "resumed_within_limit": not resumes or float(np.percentile(resumes, 95)) <= RESUMED_WITHIN,
        "key_to_chunk_ms": summary(answers) if answers else None,
    }


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a minute and a half instead of eight")
    parser.add_argument("--seed", type=int, default=1, help="of the arrivals")
    parser.add_argument("--front-doors", type=int, default=2)
    parser.add_argument("--only", choices=("overhead", "moves"), help="one part alone")
    options = parser.parse_args()
    before = machine()
    with contextlib.redirect_stdout(sys.stderr):  # what Ray says; standard output has nothing but the JSON
        result = {} if options.only == "overhead" else {"moved": measure_moves()}
        if options.only != "moves":
            result = {**_fake_world(options), **result}
    report("cluster", before, result)


def _fake_world(options: argparse.Namespace) -> dict[str, Any]:
    plan = QUICK if options.quick else FULL
    log_progress(f"starting {SERVERS} servers with {PLACES} places")
    settings = {"world": "fake", "capacity": PLACES, "grace": GRACE_SECONDS}
    cluster = LocalCluster(
        WORLD,
        settings,
        port=free_port(),
        nodes=2,
        servers=SERVERS,
        max_servers=SERVERS + 1,
        front_doors=options.front_doors,
        replicate=REPLICATE_SECONDS,
    )
    try:
        parts = measure_overhead(cluster, plan.presses) if options.only else run(cluster, plan, options.seed)
        result = asyncio.run(parts)
    finally:
        cluster.close()
    size = {"servers": SERVERS, "places": PLACES, "world": "fake", "replicate_s": REPLICATE_SECONDS}
    return {**size, **result}


if __name__ == "__main__":
    main()
