"""A Ray cluster of two nodes on this machine: visits through the front door, what is killed, and a drain.

At the end its servers make room for one of two processes: what that one shows, a rank that is killed, and one without a
place. All in one file, since a cluster takes long to start.
"""

from __future__ import annotations

import io
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

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
    bring,
    hashes,
    hold,
    moved,
    server_of,
    until,
    until_closed,
    until_copied,
    visit_again,
    visit_at,
)
from tests.recipes.tiny_world import tiny_config

if TYPE_CHECKING:
    from tests.backend.cluster.page import PageVisit

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
            nodes=2,
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
    with visit_again(PORT, token) as again:
        hold(again, "a", 4)
        after = hashes(cluster, token)
    assert after[: len(before)] == before and len(after) > len(before)


@pytest.fixture(scope="module")
def page(cluster: LocalCluster) -> Iterator[PageVisit | None]:
    """A page with a session of its own; None without a browser."""
    try:
        from benchmarks.browser import NoBrowser
        from tests.backend.cluster.page import PageVisit
    except ImportError:  # the package playwright is not installed
        yield None
        return
    try:
        visiting = PageVisit(cluster)
    except NoBrowser:
        yield None
        return
    yield visiting
    visiting.leave()


@contextmanager
def going_on(cluster: LocalCluster, page: PageVisit | None, server: str) -> Iterator[None]:
    """Let the page move at a server, which ends meanwhile; afterwards the page goes on elsewhere by itself."""
    if page is None:
        yield
        return
    page.moves(server)
    until_copied(page.token, 1)
    yield
    page.goes_on()
    assert server_of(cluster, page.token) != server


def killed_in_play(
    cluster: LocalCluster, page: PageVisit | None, visitor: Visitor, kill: Callable[[str], None]
) -> list[str]:
    """Play, with the page, at the visitor's server until `kill` ends it; returns the visitor's chunks before."""
    token = visitor.ready["token"]
    hold(visitor, "w", 6)
    before, server = hashes(cluster, token), server_of(cluster, token)
    until_copied(token, len(before))
    with going_on(cluster, page, server):
        kill(server)
        until_closed(visitor)
    return before


@pytest.mark.slow
def test_a_killed_server_comes_back_and_its_sessions_go_on_elsewhere(
    cluster: LocalCluster, page: PageVisit | None
) -> None:
    with visit() as visitor:
        token = visitor.start(seed=4)["token"]
        before = killed_in_play(cluster, page, visitor, cluster.kill_server)
    with visit_again(PORT, token) as again:
        assert hashes(cluster, token) == before
        hold(again, "d", 3)
        assert hashes(cluster, token)[: len(before)] == before


@pytest.mark.slow
def test_a_page_goes_on_when_its_front_door_is_killed(cluster: LocalCluster, page: PageVisit | None) -> None:
    if page is None:
        pytest.skip("no browser starts here")
    until(lambda: len(cluster.front_doors()) == 2)
    page.moves(server_of(cluster, page.token))
    cluster.kill_front_door()
    page.goes_on()


@pytest.mark.slow
def test_a_drained_server_hands_its_sessions_over(cluster: LocalCluster, page: PageVisit | None) -> None:
    until(lambda: cluster.health()["capacity"] == 12)  # the killed one is back
    server = next(name for name in server_names() if cluster.on_head(name))  # the other one's node can end afterwards
    with visit() as visitor:
        token = visitor.start()["token"]
    bring(cluster, token, server)
    with visit() as visitor:
        assert visitor.start(token=token)["token"] == token
        with going_on(cluster, page, server):
            ray.get(cluster.controller.drain.remote(server))
            until_closed(visitor)
    with visit_again(PORT, token) as again:
        assert again.answer_to(again.send("keys", down=["w"]))
    until(lambda: len(server_names()) == 2 and cluster.health()["capacity"] == 12)  # another one is in its place


@pytest.mark.slow
def test_sessions_of_a_node_that_is_killed_go_on_at_another_one(cluster: LocalCluster, page: PageVisit | None) -> None:
    server = next(name for name in server_names() if not cluster.on_head(name))
    with visit() as visitor:
        token = visitor.start(seed=6)["token"]
    bring(cluster, token, server)
    with visit() as visitor:
        visitor.start(token=token)
        before = killed_in_play(cluster, page, visitor, cluster.kill_node_of)
    with visit_again(PORT, token):
        assert hashes(cluster, token) == before


@pytest.fixture(scope="module")
def group(cluster: LocalCluster, page: PageVisit | None) -> LocalCluster:
    """The same cluster with one world server of two processes."""
    if page is not None:
        page.leave()  # its event loop is this thread's, and nothing else could run there
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
    with visit_again(PORT, token) as again:
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
