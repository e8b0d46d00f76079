"""A Ray cluster of several nodes on this machine, with all parts of the service: for tests and benchmarks."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import ray
from ray.util import list_named_actors

from backend.cluster.controller import NAME as CONTROLLER
from backend.cluster.controller import ServerSpec, start_controller
from backend.cluster.front_door import deploy
from backend.cluster.main import cluster_secret
from backend.cluster.placement import ScalingPolicy
from backend.cluster.ray_fleet import NAMESPACE, server_names, stop_server
from backend.cluster.vault import start_vaults
from backend.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 480.0
"""Time in which all servers must be there; a busy machine starts processes slowly."""
FRONT_DOOR_PROCESS = b"ray::ServeReplica:flashdreams"
"""Beginning of the names that Ray gives to these processes."""
ESTABLISHED, LISTENING = "01", "0A"
"""States of sockets, as the system numbers them."""
SERVER_CPUS = 0.7
"""Of one of its node's, which Ray only counts: the rest is for the parts that take a tenth each, not for a server."""
SERVE_ROUND_SECONDS = 0.5
"""Time between two looks of Ray Serve at its replicas; with its own 0.1 s that takes a twentieth of a core."""
TOKENS_SECONDS = 3.0
"""Time in which servers tell the sessions that they have."""
RAY_CONFIG = {
    # A process that is gone refuses each check at once: its node counts as dead after 5 s instead of 15. One that is
    # only slow has longer than by default, on a machine where all nodes share a few cores.
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 30_000,
    "agent_register_timeout_ms": 240_000,
    "worker_register_timeout_seconds": 240,
    # Nobody looks at figures of Ray, and processes that are started before they are needed may not be needed.
    "enable_metrics_collection": False,
    "task_events_report_interval_ms": 0,
    "event_stats": False,
    # The memory is the machine's, and not each node's to watch.
    "memory_monitor_refresh_ms": 0,
    "prestart_worker_first_driver": False,
}
"""Ray's own settings of a local cluster."""
HEAD = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True, "_system_config": RAY_CONFIG}
"""Arguments of the head node: without dashboard, logs at the driver, and autoscaler."""


class LocalCluster:
    """Nodes, world servers, controller, vault and front doors."""

    def __init__(
        self,
        module: str | None,
        settings: Mapping[str, Any],
        *,
        port: int,
        nodes: int,
        servers: int,
        max_servers: int,
        front_doors: int = 1,
        replicate: float = 5.0,
        ranks: int = 1,
    ) -> None:
        """Start all, and wait until the servers can play.

        Args:
            module: `package.module:function` of the world config; none: the settings' world.
            settings: fields of `Settings` of a world server.
            port: port of the front doors on 127.0.0.1.
            nodes: Ray nodes, each with room for as many servers as the policy may ask of it, and for no more.
            servers: world servers, and at least.
            max_servers: at most.
            front_doors: replicas.
            replicate: seconds between copies of sessions.
            ranks: processes of each server.
        """
        from ray.cluster_utils import Cluster

        self.address, self._port = f"http://127.0.0.1:{port}", port
        os.environ["PYTHONPATH"] = str(ROOT)
        os.environ.setdefault("RAY_SERVE_CONTROL_LOOP_INTERVAL_S", str(SERVE_ROUND_SECONDS))
        cpus = -(-max_servers // nodes)
        self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": cpus, **HEAD})
        self.nodes = [self._cluster.add_node(num_cpus=cpus) for _ in range(nodes - 1)]
        """Nodes beside the head."""
        ray.init(address=self._cluster.address, namespace=NAMESPACE, log_to_driver=False)
        self.secret = cluster_secret()
        start_vaults()
        self.start_servers(
            module, settings, servers=servers, max_servers=max_servers, replicate=replicate, ranks=ranks, wait=False
        )
        deploy(Settings(port=port), self.secret, front_doors)
        self.wait_for(servers)

    def start_servers(
        self,
        module: str | None,
        settings: Mapping[str, Any],
        *,
        servers: int,
        max_servers: int,
        replicate: float = 5.0,
        ranks: int = 1,
        wait: bool = True,
    ) -> None:
        """Start a controller with its servers, instead of those that are there. Arguments are those of the cluster.

        Returns once the servers can play, or at once without `wait`.
        """
        self._stop_servers()
        spec = ServerSpec(
            settings={**settings, "access_token": self.secret},
            cpus=SERVER_CPUS / ranks,
            module=module,
            replicate=replicate,
            ranks=ranks,
        )
        policy = ScalingPolicy(min_servers=servers, max_servers=max_servers, idle_rounds=10**6)
        self.controller = start_controller(spec, policy, self.secret)
        if wait:
            self.wait_for(servers)

    def _stop_servers(self) -> None:
        """Stop the controller and its servers, where there are any, and wait until nobody knows them any more."""
        with contextlib.suppress(ValueError):
            ray.kill(ray.get_actor(CONTROLLER, NAMESPACE), no_restart=True)
        names = server_names()
        for name in names:
            stop_server(name)
        deadline = time.monotonic() + START_SECONDS
        while {CONTROLLER, *names} & _actor_names() or self.health()["servers"]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the servers are still there after {START_SECONDS:g} s")
            time.sleep(0.1)

    def health(self) -> dict[str, Any]:
        """Return the front door's account of all servers; an empty one while it does not answer."""
        try:
            # Nothing is encrypted here, and reading all certificates would take 25 ms of CPU each time.
            asked = httpx.get(f"{self.address}/healthz", timeout=30, trust_env=False, verify=False)
            answer: dict[str, Any] = asked.json()
        except (httpx.HTTPError, ValueError):  # it was killed, or has only begun
            return {"status": "failed", "sessions": 0, "capacity": 0, "waiting": 0, "servers": {}}
        return answer

    def wait_for(self, servers: int) -> None:
        """Wait until so many servers can play. Raises TimeoutError after eight minutes."""
        deadline = time.monotonic() + START_SECONDS
        while sum(load["status"] == "ok" for load in self.health()["servers"].values()) < servers:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{servers} servers are not there after {START_SECONDS:g} s")
            time.sleep(0.5)  # each look takes time from the servers that start

    @staticmethod
    def server(name: str) -> Any:
        """Return the actor of a world server. Raises ValueError if there is none."""
        return ray.get_actor(name, NAMESPACE)

    def pid(self, name: str) -> int:
        """Return the process id of a world server."""
        return int(ray.get(self.server(name).pid.remote()))

    def server_address(self, name: str) -> str:
        """Return the address at which a world server listens, which takes the cluster's secret alone."""
        return str(ray.get(self.server(name).address.remote()))

    def holders(self, token: str) -> list[str]:
        """Return the names of the servers that have a session now."""
        return [name for name, tokens in self.tokens().items() if token in tokens]

    def tokens(self) -> dict[str, list[str]]:
        """Return the tokens of the sessions of each server that answers within three seconds."""
        asked: dict[Any, str] = {}
        for name in server_names():
            with contextlib.suppress(ValueError):  # it has just been stopped
                asked[self.server(name).tokens.remote()] = name
        found: dict[str, list[str]] = {}
        answered, _ = ray.wait([*asked], num_returns=len(asked), timeout=TOKENS_SECONDS) if asked else ([], [])
        for answer in answered:
            with contextlib.suppress(ray.exceptions.RayError):  # it starts again
                found[asked[answer]] = ray.get(answer)
        return found

    def kill_server(self, name: str) -> None:
        """Kill the process of a world server; Ray starts it again."""
        os.kill(self.pid(name), signal.SIGKILL)

    def on_head(self, name: str) -> bool:
        """Return True if a world server runs on the head, which cannot be killed."""
        node_id = ray.get(self.server(name).node.remote())
        return all(node.node_id != node_id for node in self.nodes)

    def kill_node_of(self, name: str) -> None:
        """Kill the node that a world server runs on, with all that runs there. Raises LookupError for the head."""
        node_id = ray.get(self.server(name).node.remote())
        node = next((one for one in self.nodes if one.node_id == node_id), None)
        if node is None:
            raise LookupError(f"{name} runs on the head, which a cluster cannot do without")
        self.nodes.remove(node)
        self._cluster.remove_node(node, allow_graceful=False)

    def front_door_seconds(self) -> float:
        """Return the processor time that this cluster's front doors have taken so far."""
        total = 0.0
        for pid in self._front_door_pids():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += (int(rest[11]) + int(rest[12])) / os.sysconf("SC_CLK_TCK")
        return total

    def front_doors(self) -> list[int]:
        """Return the process ids of the front doors that listen."""
        return self._front_doors_with(LISTENING)

    def kill_front_door(self) -> None:
        """Kill the process of a front door that a visitor is connected to; Ray Serve starts another one.

        Raises LookupError if nobody is connected to any.
        """
        connected = self._front_doors_with(ESTABLISHED)
        if not connected:
            raise LookupError("no visitor is connected to a front door")
        os.kill(connected[0], signal.SIGKILL)

    def _front_doors_with(self, state: str) -> list[int]:
        """Return the process ids of the front doors that have a socket at their port in a state."""
        port = f":{self._port:04X}"
        rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        sockets = {f"socket:[{row[9]}]" for row in rows if row[1].endswith(port) and row[3] == state}
        return [pid for pid in self._front_door_pids() if sockets & _open_files(pid)]

    def _front_door_pids(self) -> list[int]:
        raylets = {info.process.pid for node in self._cluster.list_all_nodes() for info in node.all_processes["raylet"]}
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                if parent in raylets and (folder / "cmdline").read_bytes().startswith(FRONT_DOOR_PROCESS):
                    found.append(int(folder.name))
        return found

    def close(self) -> None:
        """Stop everything."""
        from ray import serve

        serve.shutdown()
        ray.shutdown()
        self._cluster.shutdown()


def _actor_names() -> set[str]:
    return {actor["name"] for actor in list_named_actors(all_namespaces=True) if actor["namespace"] == NAMESPACE}


def _open_files(pid: int) -> set[str]:
    """Return what a process has open: `socket:[number]` for each of its sockets."""
    found = set()
    with contextlib.suppress(OSError):  # it has ended meanwhile
        for file in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(os.readlink(file))
    return found
