"""A Ray cluster of three nodes on this machine: visits through the front door, what is killed, and a drain.

At the end its servers make room for one of two processes: what that one shows, a rank that is killed, and one without a
place. All in one file, since a cluster takes long to start.
"""

from __future__ import annotations

import io
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import av
import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.server import free_port
from tests.backend.harness import Visitor, running

pytest.importorskip("ray", reason="the extra `cluster` is not installed")

import ray

from backend.cluster import main
from backend.cluster.groups import RankPlace
from backend.cluster.local import LocalCluster
from backend.cluster.ray_fleet import server_names, start_server, stop_server
from backend.cluster.ray_group import group_waits
from backend.cluster.relay import LOADS_SECONDS
from flashdreams.core.distributed import PEER_TIMEOUT
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
from tests.recipes.tiny_world import tiny_config

PORT = free_port()
SETTINGS = {"world": "tiny", "capacity": 2}
"""Of the server of two processes."""
CHUNKS = 4
"""Chunks of which the pictures are compared."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PEER_TIMEOUT, "600")  # nothing here ends because signs of life are missed
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
    from tests.e2e.chromium import KEEP_SOCKETS
    from tests.e2e.chromium import until as page_until

    with ExitStack() as stack:
        try:
            page = stack.enter_context(chromium()).new_page(bypass_csp=True)
        except NoBrowser as reason:
            pytest.skip(str(reason))
        page.set_default_timeout(PATIENCE * 1000)
        page.add_init_script(KEEP_SOCKETS)
        page.goto(f"{cluster.address}/?seed=7")
        page_until(page, "f.status === null && f.chunk !== null", PATIENCE)
        token = page.evaluate("() => sessionStorage.getItem('flashdreams.token')")
        page.click("#play")
        page.keyboard.down("d")

        def goes_on() -> None:
            """Wait until the page shows what is generated from now on, with the same session."""
            page_until(page, "f.status === null && f.state !== null", PATIENCE)
            if page.evaluate("() => window.flashdreams.mode") == "menu":  # it came back late, and keys are up then
                page.keyboard.up("d")
                page.click("#play")
                page.keyboard.down("d")
            newest = page.evaluate("() => window.flashdreams.chunk.index")
            page_until(page, f"f.status === null && f.state === 'live' && f.chunk.index > {newest} + 5", PATIENCE)
            assert page.evaluate("() => sessionStorage.getItem('flashdreams.token')") == token
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
        until(lambda: cluster.health()["capacity"] == 12)
        try:
            loses(lambda: cluster.kill_node_of(server_of(cluster, token)))
        except LookupError:  # it is on the head: away from there
            until_copied(token, 1)
            loses(lambda: cluster.kill_server(server_of(cluster, token)))
            goes_on()
            until(lambda: cluster.health()["capacity"] == 12)
            loses(lambda: cluster.kill_node_of(server_of(cluster, token)))
        goes_on()
        until(lambda: len(cluster.front_doors()) == 2)  # one may have been on that node
        loses(cluster.kill_front_door)
        goes_on()
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


@pytest.fixture(scope="module")
def group(cluster: LocalCluster) -> LocalCluster:
    """The same cluster with one world server of two processes."""
    cluster.start_servers(
        "tests.recipes.tiny_world:tiny_config", SETTINGS, servers=1, max_servers=1, replicate=0.5, ranks=2
    )
    return cluster


def pictures(visitor: Visitor) -> npt.NDArray[np.uint8]:
    """The pictures of the first chunks."""
    while visitor.wait("chunk", PATIENCE)["index"] < CHUNKS - 1:
        pass
    with av.open(io.BytesIO(b"".join(visitor.media))) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])


def ranks(group: LocalCluster) -> list[RankPlace]:
    """The places of the server's processes."""
    found: list[RankPlace] = ray.get(group.server("world-0").ranks.remote(), timeout=PATIENCE)
    return found


@pytest.mark.slow
def test_a_group_of_two_shows_what_one_process_shows(group: LocalCluster) -> None:
    with running(tiny_config(), **SETTINGS) as server, server.visit() as alone:
        alone.start(seed=3)
        wanted = pictures(alone)
    with visit() as visitor:
        visitor.start(seed=3)
        shown = pictures(visitor)
    first, second = ranks(group)
    assert first.pid != second.pid and first.node == second.node
    assert shown.shape == wanted.shape and len(wanted) == 5 + 8 * (CHUNKS - 1)
    difference = np.abs(shown.astype(int) - wanted)  # fp32, and then H.264
    from_chunk_to_chunk = np.abs(wanted[-16:-8].astype(int) - wanted[-8:]).mean()
    print(f"mean difference {difference.mean():.3f} of 255, from chunk to chunk {from_chunk_to_chunk:.1f}")
    assert difference.mean() < from_chunk_to_chunk / 20


@pytest.mark.slow
def test_a_killed_rank_ends_its_group_which_starts_again_and_the_session_goes_on(group: LocalCluster) -> None:
    before = ranks(group)

    def restarted() -> bool:
        try:
            return not {place.pid for place in before} & {place.pid for place in ranks(group)}
        except ray.exceptions.RayError:
            return False

    with visit() as visitor:
        token = visitor.start(seed=4)["token"]
        while visitor.wait("chunk", PATIENCE)["index"] < CHUNKS - 1:
            pass
        visitor.send("pause")
        visitor.wait_state("paused")
        played = hashes(group, token)
        until_copied(token, len(played))
        killed = time.monotonic()
        os.kill(before[1].pid, signal.SIGKILL)
        until_closed(visitor)  # long before the other rank would miss its signs of life
        ended = time.monotonic() - killed
    until(restarted)
    until(lambda: group.health()["status"] == "ok")
    print(f"the group ended after {ended:.1f} s and played again after {time.monotonic() - killed:.1f} s")
    with visit() as again:
        assert again.start(token=token)["token"] == token
        assert hashes(group, token) == played
        again.send("resume")
        while again.wait("chunk", PATIENCE)["index"] < len(played) + 1:
            pass
        assert hashes(group, token)[: len(played)] == played


@pytest.mark.slow
def test_a_group_without_a_place_says_what_is_missing_and_stops_nobody(
    group: LocalCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    start_server("world-7", SETTINGS, cpus=50, gpus=0, host="127.0.0.1", ranks=2)  # nobody waits for it
    until(lambda: "world-7" in group_waits(["world-0", "world-7"]))
    waits = group_waits(["world-0", "world-7"])
    assert list(waits) == ["world-7"] and "2 x 50 CPU" in waits["world-7"] and "room for 0" in waits["world-7"]
    with visit() as visitor:
        visitor.start(seed=5)
        assert visitor.wait("chunk", PATIENCE)["index"] == 0

    def all_shown() -> bool:
        assert main._status(main.parser().parse_args(["status"])) == 0
        told = capsys.readouterr().out
        return "no place" in told and "2 x 50 CPU" in told and told.count("rank ") == 2

    until(all_shown)  # a server that is slow to answer has no line of its ranks
    stop_server("world-7")
    until(lambda: server_names() == ["world-0"])
    until(lambda: group_waits(["world-7"]) == {})
