"""Visits through a cluster's front door, and waiting for it, for the tests on Ray."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest
import ray
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from backend.cluster.local import LocalCluster
from backend.cluster.ray_fleet import NAMESPACE
from backend.cluster.relay import TRY_AGAIN
from backend.cluster.vault import NAMES
from backend.session.transfer import SessionCopy
from tests.backend.harness import Visitor

PATIENCE = 120.0
"""Seconds until a cluster must have got somewhere: it starts processes."""


def visit_at(port: int) -> Visitor:
    """Return a new visitor at the front door on `port`."""
    socket = connect(f"ws://127.0.0.1:{port}/ws/play", max_size=2**24, proxy=None, open_timeout=30)
    return Visitor(socket.__enter__())


@contextmanager
def visit_again(port: int, token: str) -> Iterator[Visitor]:
    """Go on with a session whose server ended. Like a page, come again while no server could be reached in time."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with visit_at(port) as visitor:
            try:
                assert visitor.start(token=token)["token"] == token
            except ConnectionClosed as closed:
                assert closed.rcvd is not None and closed.rcvd.code == TRY_AGAIN and time.monotonic() < deadline
                continue
            yield visitor
            return


def until(reached: Callable[[], bool]) -> None:
    """Wait until `reached`. A long wait is for processes that start, and each look takes time from them."""
    deadline, wait = time.monotonic() + PATIENCE, 0.05
    while not reached():
        assert time.monotonic() < deadline, "the cluster did not get there"
        time.sleep(wait)
        wait = min(1.3 * wait, 0.5)


def server_of(cluster: LocalCluster, token: str) -> str:
    """Return the name of the one server with a session, once one alone has it; two may while it is moved."""
    found: list[str] = []

    def alone() -> bool:
        found[:] = cluster.holders(token)
        return len(found) == 1

    until(alone)
    return found[0]


def moved(cluster: LocalCluster, token: str, server: str | None = None) -> bool:
    """Move a session, to any other server or a certain one.

    Returns False while a server does not answer, or one that came back has no place yet.
    """
    try:
        ray.get(cluster.controller.move.remote(token, server))
    except LookupError:
        return False
    return True


def bring(cluster: LocalCluster, token: str, server: str) -> None:
    """Move a session to a server, if it is not there."""
    until(lambda: server_of(cluster, token) == server or moved(cluster, token, server))


def hashes(cluster: LocalCluster, token: str) -> list[str]:
    """Return the hashes of a session's chunks, through the front door, once it gives them."""
    found: list[str] = []

    def answered() -> bool:
        address = f"{cluster.address}/api/sessions/{token}/save.json"
        answer = httpx.get(address, timeout=PATIENCE, trust_env=False, verify=False)
        if answer.status_code == 200:
            found[:] = [chunk["hash"] for chunk in answer.json()["chunks"]]
        return answer.status_code == 200

    until(answered)
    return found


def until_copied(token: str, chunks: int) -> None:
    """Wait until both vaults have a copy of a session with so many chunks."""

    def copied(vault: str) -> bool:
        data = ray.get(ray.get_actor(vault, NAMESPACE).take.remote(token), timeout=PATIENCE)
        return data is not None and SessionCopy.from_bytes(data).rollout.head >= chunks - 1

    until(lambda: all(map(copied, NAMES)))


def until_closed(visitor: Visitor) -> ConnectionClosed:
    """Receive until the socket is closed, and return how."""
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            visitor.receive()
    return closed.value


def hold(visitor: Visitor, key: str, chunks: int) -> None:
    """Hold a key for a number of chunks, and wait until the session rests."""
    wanted = len(visitor.chunks) + chunks
    visitor.send("keys", down=[key])
    while len(visitor.chunks) < wanted:
        visitor.receive()
    visitor.send("keys", down=[])
    while visitor.newest("state")["state"] != "idle":
        visitor.receive()
