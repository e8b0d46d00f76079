"""A world server of two processes in a Ray cluster: what it shows, a rank that is killed, and one without a place."""

from __future__ import annotations

import io
import os
import signal
import time
from collections.abc import Iterator

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
from tests.backend.cluster.visits import PATIENCE, hashes, until, until_closed, until_copied, visit_at
from tests.recipes.tiny_world import tiny_config

pytestmark = pytest.mark.slow

PORT = free_port()
SETTINGS = {"world": "tiny", "capacity": 2}
CHUNKS = 4


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    cluster = LocalCluster(
        "tests.recipes.tiny_world:tiny_config",
        SETTINGS,
        port=PORT,
        nodes=1,
        servers=1,
        max_servers=1,
        replicate=0.5,
        ranks=2,
    )
    yield cluster
    cluster.close()


def visit() -> Visitor:
    return visit_at(PORT)


def pictures(visitor: Visitor) -> npt.NDArray[np.uint8]:
    """The pictures of the first chunks."""
    while visitor.wait("chunk", PATIENCE)["index"] < CHUNKS - 1:
        pass
    with av.open(io.BytesIO(b"".join(visitor.media))) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])


def ranks(cluster: LocalCluster) -> list[RankPlace]:
    """The places of the server's processes."""
    found: list[RankPlace] = ray.get(cluster.server("world-0").ranks.remote())
    return found


def test_a_group_of_two_shows_what_one_process_shows(cluster: LocalCluster) -> None:
    with running(tiny_config(), **SETTINGS) as server, server.visit() as alone:
        alone.start(seed=3)
        wanted = pictures(alone)
    with visit() as visitor:
        visitor.start(seed=3)
        shown = pictures(visitor)
    first, second = ranks(cluster)
    assert first.pid != second.pid and first.node == second.node
    assert shown.shape == wanted.shape and len(wanted) == 5 + 8 * (CHUNKS - 1)
    difference = np.abs(shown.astype(int) - wanted)  # fp32, and then H.264
    from_chunk_to_chunk = np.abs(wanted[-16:-8].astype(int) - wanted[-8:]).mean()
    print(f"mean difference {difference.mean():.3f} of 255, from chunk to chunk {from_chunk_to_chunk:.1f}")
    assert difference.mean() < from_chunk_to_chunk / 20


def test_a_killed_rank_ends_its_group_which_starts_again_and_the_session_goes_on(cluster: LocalCluster) -> None:
    before = ranks(cluster)
    with visit() as visitor:
        token = visitor.start(seed=4)["token"]
        pictures(visitor)
        visitor.send("pause")
        visitor.wait_state("paused")
        played = hashes(cluster, token)
        until_copied(token, len(played))
        killed = time.monotonic()
        os.kill(before[1].pid, signal.SIGKILL)
        until_closed(visitor)
        ended = time.monotonic() - killed
    until(lambda: cluster.health()["status"] == "ok")
    print(f"the group ended after {ended:.1f} s and played again after {time.monotonic() - killed:.1f} s")
    assert ended < 20, "it does not wait until the peers' signs of life are missed"
    assert not {place.pid for place in before} & {place.pid for place in ranks(cluster)}
    with visit() as again:
        assert again.start(token=token)["token"] == token
        assert hashes(cluster, token) == played
        again.send("resume")
        while again.wait("chunk", PATIENCE)["index"] < len(played) + 1:
            pass
        assert hashes(cluster, token)[: len(played)] == played


def test_a_group_without_a_place_says_what_is_missing_and_stops_nobody(
    cluster: LocalCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = time.monotonic()
    start_server("world-7", SETTINGS, cpus=50, gpus=0, host="127.0.0.1", ranks=2)
    assert time.monotonic() - begun < 5, "nobody waits for it"
    until(lambda: "world-7" in group_waits(["world-0", "world-7"]))
    waits = group_waits(["world-0", "world-7"])
    assert list(waits) == ["world-7"] and "2 x 50 CPU" in waits["world-7"] and "room for 0" in waits["world-7"]
    with visit() as visitor:
        visitor.start(seed=5)
        assert visitor.wait("chunk", PATIENCE)["index"] == 0
    assert main._status(main.parser().parse_args(["status"])) == 0
    told = capsys.readouterr().out
    assert "no place" in told and "2 x 50 CPU" in told and told.count("rank ") == 2
    stop_server("world-7")
    until(lambda: server_names() == ["world-0"])
    assert group_waits(["world-7"]) == {}
