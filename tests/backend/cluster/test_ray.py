"""A Ray cluster of three nodes on this machine: visits through the front door, what is killed, and a drain."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from benchmarks.server import free_port
from tests.backend.harness import Visitor

pytest.importorskip("ray", reason="the extra `cluster` is not installed")

import ray

from backend.cluster.local import LocalCluster
from backend.cluster.relay import LOADS_SECONDS
from tests.backend.cluster.visits import (
    PATIENCE,
    hashes,
    hold,
    server_of,
    until,
    until_closed,
    until_copied,
    visit_at,
)

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


def moved(cluster: LocalCluster, token: str) -> bool:
    """Move a session; returns False while a server does not answer, or one that came back has no place yet."""
    try:
        ray.get(cluster.controller.move.remote(token))
    except LookupError:
        return False
    return True


@pytest.mark.slow
def test_a_moved_session_goes_on_with_the_same_frames(cluster: LocalCluster) -> None:
    with visit() as visitor:
        token = visitor.start(seed=3)["token"]
        hold(visitor, "w", 6)
        before, source = hashes(cluster, token), server_of(cluster, token)
        until(lambda: moved(cluster, token))
        closed = until_closed(visitor)
    assert closed.rcvd is not None and closed.rcvd.code == 1012
    assert server_of(cluster, token) != source
    with visit() as again:
        assert again.start(token=token)["token"] == token
        hold(again, "a", 4)
        after = hashes(cluster, token)
    assert after[: len(before)] == before and len(after) > len(before)


@pytest.mark.slow
def test_a_killed_server_comes_back_and_its_session_goes_on_elsewhere(cluster: LocalCluster) -> None:
    with visit() as visitor:
        token = visitor.start(seed=4)["token"]
        hold(visitor, "w", 6)
        before = hashes(cluster, token)
        until_copied(token, len(before))
        cluster.kill_server(server_of(cluster, token))
        until_closed(visitor)
    with visit() as again:
        assert again.start(token=token)["token"] == token
        assert hashes(cluster, token) == before
        hold(again, "d", 3)
        assert hashes(cluster, token)[: len(before)] == before
        until(lambda: cluster.health()["capacity"] == 12)


@pytest.mark.slow
def test_a_page_goes_on_when_a_server_a_node_and_a_front_door_are_killed(cluster: LocalCluster) -> None:
    pytest.importorskip("playwright.sync_api", reason="the browser tests need the package playwright")
    from benchmarks.browser import NoBrowser, chromium
    from tests.e2e.chromium import KEEP_SOCKETS, first_picture
    from tests.e2e.chromium import until as page_until

    with ExitStack() as stack:
        try:
            page = stack.enter_context(chromium()).new_page(bypass_csp=True)
        except NoBrowser as reason:
            pytest.skip(str(reason))
        page.add_init_script(KEEP_SOCKETS)
        page.goto(f"{cluster.address}/?seed=7")
        first_picture(page)
        token = page.evaluate("() => sessionStorage.getItem('flashdreams.token')")
        page.click("#play")
        page.keyboard.down("d")

        def goes_on() -> None:
            """Wait until the page shows what is generated from now on, with the same session."""
            page_until(page, "f.status === null && f.state === 'live'")
            newest = page.evaluate("() => window.flashdreams.chunk.index")
            page_until(page, f"f.chunk.index > {newest} + 5")
            server_of(cluster, token)

        def loses(kill: Callable[[], None]) -> None:
            """Kill something, and wait until the page has connected again."""
            connections = page.evaluate("() => window.sockets.length")
            kill()
            page.wait_for_function(f"() => window.sockets.length > {connections}", timeout=PATIENCE * 1000)

        goes_on()
        until_copied(token, 1)
        loses(lambda: cluster.kill_server(server_of(cluster, token)))
        goes_on()
        try:
            loses(lambda: cluster.kill_node_of(server_of(cluster, token)))
        except LookupError:  # it is on the head: away from there
            until(lambda: cluster.health()["capacity"] == 12)
            until(lambda: moved(cluster, token))
            goes_on()
            loses(lambda: cluster.kill_node_of(server_of(cluster, token)))
        goes_on()
        cluster.kill_front_door()
        goes_on()
        assert page.evaluate("() => sessionStorage.getItem('flashdreams.token')") == token
    until(lambda: cluster.health()["capacity"] == 12)


@pytest.mark.slow
def test_a_drained_server_hands_its_session_over(cluster: LocalCluster) -> None:
    with visit() as visitor:
        token = visitor.start()["token"]
        name = server_of(cluster, token)
        ray.get(cluster.controller.drain.remote(name))
        until_closed(visitor)
    with visit() as again:
        assert again.start(token=token)["token"] == token
        assert again.answer_to(again.send("keys", down=["w"]))
