"""A visit to the pocket world that is moved from server to server, compared with the same visit of a session alone."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np

from backend.cluster.local import LocalCluster
from backend.session.replay import digest_of, read_saved
from backend.settings import Settings, world_config
from benchmarks.cluster_visits import Player, Visit
from benchmarks.common import log_progress, summary
from benchmarks.server import free_port
from flashdreams.infra.world.base import WorldConfig

WORLD = "pocket"
MOVES = 3
CHUNKS = 15
"""Chunks from one move to the next: more than the model's window, so that all of its state is of this server."""
SAVE_ATTEMPTS = 10
MOVE_SECONDS = 60.0
"""Time that the chunks before a move may take on a busy machine."""


@dataclass(frozen=True)
class Comparison:
    """Chunks of a saved session, and those whose frames differ when they are generated alone."""

    chunks: int
    differing: list[int]


def compare_alone(config: WorldConfig, file: bytes) -> Comparison:
    """Generate a saved session again in this process, and compare the hash of each chunk's frames."""
    saved, model = read_saved(file, config), config.setup()
    rollout = model.start(saved.scene, saved.seed, text=saved.text)
    differing = []
    for index, chunk in enumerate(saved.chunks):
        if digest_of(np.asarray(model.step(rollout, chunk.controls()))).hex() != chunk.hash:
            differing.append(index)
        model.finalize(rollout)
    return Comparison(len(saved.chunks), differing)


async def saved_file(address: str, token: str) -> bytes:
    """Return what a session can be generated from again; empty if the server has not got it."""
    async with httpx.AsyncClient(base_url=address, timeout=30, trust_env=False) as client:
        for _ in range(SAVE_ATTEMPTS):  # the newest chunk may still be on its way
            answer = await client.get(f"/api/sessions/{token}/save.json")
            if answer.status_code == 200:
                return answer.content
            await asyncio.sleep(0.3)
    return b""


async def _moved_visit(cluster: LocalCluster) -> Visit:
    """Play, and let the session be moved a few times meanwhile; returns the visit with its file."""
    visit = Visit(seed=7, seconds=float("inf"))
    url = cluster.address.replace("http", "ws", 1) + "/ws/play"
    playing = asyncio.create_task(Player(url, visit).play())

    async def played(chunks: int) -> None:
        async with asyncio.timeout(MOVE_SECONDS):
            while visit.chunks < chunks and not playing.done():
                await asyncio.sleep(0.05)

    for number in range(MOVES):
        await played((number + 1) * CHUNKS)
        server = await asyncio.wrap_future(cluster.controller.move.remote(visit.token).future())
        log_progress(f"moved to {server} after {visit.chunks} chunks")
    await played((MOVES + 1) * CHUNKS)
    visit.seconds = 0.0  # its next chunk is the last one
    await playing
    visit.file = await saved_file(cluster.address, visit.token)
    return visit


def measure_moves() -> dict[str, Any]:
    """Return the figures of a visit that was moved, as JSON has them. Raises TimeoutError if it does not go on."""
    log_progress(f"starting two servers of the {WORLD} world")
    settings = {"world": WORLD, "capacity": 2, "grace": 20.0}
    cluster = LocalCluster(None, settings, port=free_port(), nodes=1, servers=2, max_servers=2)
    try:
        visit = asyncio.run(_moved_visit(cluster))
    finally:
        cluster.close()
    alone = compare_alone(world_config(Settings(world=WORLD)), visit.file)
    return {
        "world": WORLD,
        "moves": MOVES,
        "connections": visit.connections,
        "chunks_generated_alone": alone.chunks,
        "differing": alone.differing,
        "from_connection_lost_to_picture_s": summary(visit.resumes),
    }
