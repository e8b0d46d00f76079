"""A Ray cluster of three nodes on this machine: visits through the front door, what is killed, and a drain."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from benchmarks.server import free_port
from tests.backend.cluster.visits import PATIENCE, until, visit_at
from tests.backend.harness import Visitor

pytest.importorskip("ray", reason="the extra `cluster` is not installed")

import ray

from backend.cluster.local import LocalCluster
from backend.cluster.relay import LOADS_SECONDS

PORT = free_port()


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    cluster = LocalCluster(
        "tests.backend.fakes:fake_config",
        {"world": "fake", "capacity": 6},
        port=PORT,
        nodes=3,
        servers=2,
        max_servers=2,
        front_doors=2,
        replicate=0.5,
    )
    yield cluster
    cluster.close()


def visit() -> Visitor:
    return visit_at(PORT)


@pytest.mark.slow
def test_visits_play_on_two_nodes_through_one_door(cluster: LocalCluster) -> None:
    with visit() as one, visit() as other:
        one.start()
        time.sleep(2 * LOADS_SECONDS)  # the other door may have looked at the servers just before
        other.start()
        assert one.answer_to(one.send("keys", down=["w"]))["seq"] >= 2
        until(lambda: [s["sessions"] for s in cluster.health()["servers"].values()] == [1, 1])
    servers = [ray.get_actor(name, "flashdreams") for name in cluster.health()["servers"]]
    nodes: set[str] = set(ray.get([server.node.remote() for server in servers]))
    assert len(nodes) == 2


def server_of(cluster: LocalCluster, token: str) -> str:
    """Return the name of the server with a session."""
    (found,) = cluster.holders(token)
    return found


def hashes(token: str) -> list[str]:
    """Return the hashes of a session's chunks, through the front door."""
    address = f"http://127.0.0.1:{PORT}/api/sessions/{token}/save.json"
    deadline = time.monotonic() + PATIENCE
    while (answer := httpx.get(address, timeout=30, trust_env=False)).status_code != 200:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.2)
    return [chunk["hash"] for chunk in answer.json()["chunks"]]


def hold(visitor: Visitor, key: str, chunks: int) -> None:
    """Hold a key for a number of chunks."""
    wanted = len(visitor.chunks) + chunks
    visitor.send("keys", down=[key])
    while len(visitor.chunks) < wanted:
        visitor.receive()
    visitor.send("keys", down=[])
    visitor.listen(1.0)


@pytest.mark.slow
def test_a_moved_session_goes_on_with_the_same_frames(cluster: LocalCluster) -> None:
    with visit() as visitor:
        token = visitor.start(seed=3)["token"]
        hold(visitor, "w", 6)
        before, source = hashes(token), server_of(cluster, token)
        target = ray.get(cluster.controller.move.remote(token))
        assert target != source
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                visitor.receive()
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1012
    with visit() as again:
        assert again.start(token=token)["token"] == token
        hold(again, "a", 4)
        after = hashes(token)
    assert after[: len(before)] == before and len(after) > len(before)


@pytest.mark.slow
def test_a_killed_server_comes_back_and_its_session_goes_on_elsewhere(cluster: LocalCluster) -> None:
    with visit() as visitor:
        token = visitor.start(seed=4)["token"]
        hold(visitor, "w", 6)
        before = hashes(token)
        time.sleep(2)  # two copies are made meanwhile
        cluster.kill_server(server_of(cluster, token))
        with pytest.raises(ConnectionClosed):
            while True:
                visitor.receive()
    with visit() as again:
        assert again.start(token=token)["token"] == token
        assert hashes(token) == before
        hold(again, "d", 3)
        assert hashes(token)[: len(before)] == before
        until(lambda: cluster.health()["capacity"] == 12)


def moved(cluster: LocalCluster, token: str) -> bool:
    """Move a session; returns False while the server that came back has no place yet."""
    try:
        ray.get(cluster.controller.move.remote(token))
    except LookupError:
        return False
    return True


@pytest.mark.slow
def test_a_page_goes_on_when_a_server_a_node_and_a_front_door_are_killed(cluster: LocalCluster) -> None:
    pytest.importorskip("playwright.sync_api", reason="the browser tests need the package playwright")
    from benchmarks.browser import NoBrowser, chromium
    from tests.e2e.chromium import first_picture
    from tests.e2e.chromium import until as page_until

    before = {token for tokens in cluster.tokens().values() for token in tokens}
    with ExitStack() as stack:
        try:
            page = stack.enter_context(chromium()).new_page(bypass_csp=True)
        except NoBrowser as reason:
            pytest.skip(str(reason))
        page.goto(f"{cluster.address}/?seed=7")
        first_picture(page)
        (token,) = {token for tokens in cluster.tokens().values() for token in tokens} - before
        page.click("#play")
        page.keyboard.down("d")

        def goes_on() -> None:
            """Wait until the page shows what is generated from now on, with the same session."""
            page_until(page, "f.status === null && f.state === 'live'")
            newest = page.evaluate("() => window.flashdreams.chunk.index")
            page_until(page, f"f.chunk.index > {newest} + 5")
            assert len(cluster.holders(token)) == 1

        goes_on()
        time.sleep(1.5)  # copies are made meanwhile
        cluster.kill_server(server_of(cluster, token))
        page_until(page, "f.status !== null")
        goes_on()
        try:
            cluster.kill_node_of(server_of(cluster, token))
        except LookupError:  # it is on the head: away from there
            until(lambda: cluster.health()["capacity"] == 12)
            until(lambda: moved(cluster, token))
            goes_on()
            cluster.kill_node_of(server_of(cluster, token))
        page_until(page, "f.status !== null")
        goes_on()
        cluster.kill_front_door()
        goes_on()
    until(lambda: cluster.health()["capacity"] == 12)


@pytest.mark.slow
def test_a_drained_server_hands_its_session_over(cluster: LocalCluster) -> None:
    with visit() as visitor:
        token = visitor.start()["token"]
        name = server_of(cluster, token)
        ray.get(cluster.controller.drain.remote(name))
        with pytest.raises(ConnectionClosed):
            while True:
                visitor.receive()
    with visit() as again:
        assert again.start(token=token)["token"] == token
        assert again.answer_to(again.send("keys", down=["w"]))
