"""A Ray cluster of two nodes on this machine: visits through the front door, a killed server, and a drain."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.backend.harness import Visitor

ray: Any = pytest.importorskip("ray", reason="the extra `cluster` is not installed")

PORT = 8917
PATIENCE = 120.0
ROOT = Path(__file__).resolve().parents[3]


class RayCluster:
    """Two nodes, one world server each, and the controller."""

    def __init__(self) -> None:
        from ray import serve
        from ray.cluster_utils import Cluster

        from backend.cluster.controller import ServerSpec, start_controller
        from backend.cluster.front_door import deploy
        from backend.cluster.main import cluster_secret
        from backend.cluster.placement import ScalingPolicy
        from backend.cluster.ray_fleet import NAMESPACE
        from backend.cluster.vault import start_vault
        from backend.settings import Settings

        os.environ["PYTHONPATH"] = str(ROOT)
        self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
        self._cluster.add_node(num_cpus=2)
        ray.init(address=self._cluster.address, namespace=NAMESPACE, log_to_driver=False)
        secret = cluster_secret()
        inner = {"world": "fake", "capacity": 6, "access_token": secret}
        spec = ServerSpec(settings=inner, cpus=1.5, module="tests.backend.fakes:fake_config", replicate=0.5)
        policy = ScalingPolicy(min_servers=2, max_servers=2)
        serve.start(http_options={"host": "127.0.0.1", "port": PORT})
        start_vault()
        self.controller = start_controller(spec, policy, secret)
        deploy(Settings(port=PORT), secret, 1)
        self.until(lambda: self.health()["capacity"] == 12)

    def health(self) -> dict[str, Any]:
        answer: dict[str, Any] = httpx.get(f"http://127.0.0.1:{PORT}/healthz", timeout=30, trust_env=False).json()
        return answer

    def visit(self) -> Visitor:
        socket = connect(f"ws://127.0.0.1:{PORT}/ws/play", max_size=2**24, proxy=None, open_timeout=30)
        return Visitor(socket.__enter__())

    @staticmethod
    def until(reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not reached():
            assert time.monotonic() < deadline, "the cluster did not get there"
            time.sleep(0.3)

    def close(self) -> None:
        from ray import serve

        serve.shutdown()
        ray.shutdown()
        self._cluster.shutdown()


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    cluster = RayCluster()
    yield cluster
    cluster.close()


@pytest.mark.slow
def test_visits_play_on_two_nodes_through_one_door(cluster: RayCluster) -> None:
    with cluster.visit() as one, cluster.visit() as other:
        one.start()
        other.start()
        assert one.answer_to(one.send("keys", down=["w"]))["seq"] >= 2
        cluster.until(lambda: [s["sessions"] for s in cluster.health()["servers"].values()] == [1, 1])
    servers = [ray.get_actor(name, "flashdreams") for name in cluster.health()["servers"]]
    nodes = set(ray.get([server.node.remote() for server in servers]))
    assert len(nodes) == 2


def server_of(token: str) -> str:
    """Return the name of the server with a session: those of other tests are there for a while."""
    from backend.cluster.ray_fleet import NAMESPACE, server_names

    tokens = {name: ray.get(ray.get_actor(name, NAMESPACE).tokens.remote()) for name in server_names()}
    (found,) = (name for name, held in tokens.items() if token in held)
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
def test_a_moved_session_goes_on_with_the_same_frames(cluster: RayCluster) -> None:
    with cluster.visit() as visitor:
        token = visitor.start(seed=3)["token"]
        hold(visitor, "w", 6)
        before, source = hashes(token), server_of(token)
        target = ray.get(cluster.controller.move.remote(token))
        assert target != source
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                visitor.receive()
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1012
    with cluster.visit() as again:
        assert again.start(token=token)["token"] == token
        hold(again, "a", 4)
        after = hashes(token)
    assert after[: len(before)] == before and len(after) > len(before)


@pytest.mark.slow
def test_a_killed_server_comes_back_and_its_session_goes_on_elsewhere(cluster: RayCluster) -> None:
    from backend.cluster.ray_fleet import NAMESPACE

    with cluster.visit() as visitor:
        token = visitor.start(seed=4)["token"]
        hold(visitor, "w", 6)
        before = hashes(token)
        time.sleep(2)  # two copies are made meanwhile
        actor = ray.get_actor(server_of(token), NAMESPACE)
        os.kill(ray.get(actor.pid.remote()), signal.SIGKILL)
        with pytest.raises(ConnectionClosed):
            while True:
                visitor.receive()
    with cluster.visit() as again:
        assert again.start(token=token)["token"] == token
        assert hashes(token) == before
        hold(again, "d", 3)
        assert hashes(token)[: len(before)] == before
        cluster.until(lambda: cluster.health()["capacity"] == 12)


@pytest.mark.slow
def test_a_drained_server_hands_its_session_over(cluster: RayCluster) -> None:
    with cluster.visit() as visitor:
        token = visitor.start()["token"]
        name = server_of(token)
        ray.get(cluster.controller.drain.remote(name))
        with pytest.raises(ConnectionClosed):
            while True:
                visitor.receive()
    with cluster.visit() as again:
        assert again.start(token=token)["token"] == token
        assert again.answer_to(again.send("keys", down=["w"]))
