"""A world server in several processes: Ray places them as a group, and they meet without any other launcher.

The first rank is the world server's own actor. It begins the others, which Ray ends with it; where one of them ends, it
ends too, and Ray starts it again: so a group lives and dies as one.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import ray
from ray.util.placement_group import (
    get_placement_group,
    placement_group,
    placement_group_table,
    remove_placement_group,
)
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from backend.cluster.groups import CPU, GPU, RankPlace, RankSpec, missing_resources, rank_environments

RANKS_SECONDS = 120.0
"""Time in which all processes of a group must have begun; those of the run before may have to end first."""
FAILED_SECONDS = 30.0
"""Time in which loading fails in the first process too, if it failed in another one."""
GONE_STATUS = 1
UNPLACED = ("PENDING", "PREPARED", "RESCHEDULING")
"""States of a placement group whose actors do not run."""

log = logging.getLogger(__name__)


class Follower:
    """A rank after the first: makes the first one's calls on its own share of the model."""

    def __init__(self) -> None:
        """Import what takes long, while the first rank does."""
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # torch would tell of each look for a call that is none
        from flashdreams.infra.world import distributed_world

        self._follow = distributed_world.follow

    def place(self) -> RankPlace:
        """Return where Ray has put this process."""
        return own_place()

    def follow(self, environment: Mapping[str, str], spec: RankSpec, settings: dict[str, Any], module: str) -> None:
        """Load the world and work for the first rank until it ends. Raises what loading raises."""
        from backend.cluster.world_server import config_of
        from flashdreams.core import distributed

        os.environ.update(environment)  # before the first use of a GPU, which reads them
        distributed.init(device_of(spec))
        try:
            self._follow(replace(config_of(settings, module), adapts=False))  # all must do the same
        except BaseException:
            if (peers := distributed.peers()) is not None:
                peers.done()  # Ray tells the first rank
            raise
        distributed.shutdown()


class Group:
    """The other ranks, held by the first one."""

    def __init__(self, name: str, spec: RankSpec) -> None:
        """Begin the ranks of world server `name`, without waiting for them."""
        self._name, self._spec, self._stopping = name, spec, False
        self._failing: Callable[[], bool] = lambda: False
        self.places: list[RankPlace] = []
        """Places of all ranks, once they have joined."""
        own: Any = ray.util.get_current_placement_group()
        actor: Any = ray.remote(Follower)
        self._actors = [
            actor.options(
                num_cpus=spec.cpus,
                num_gpus=spec.gpus,
                scheduling_strategy=PlacementGroupSchedulingStrategy(own, rank),
            ).remote()
            for rank in range(1, spec.ranks)
        ]

    def join(self, settings: dict[str, Any], module: str, address: str) -> None:
        """Meet the other ranks, which load the world then. Raises RuntimeError if they do not come.

        Args:
            settings: fields of `Settings`.
            module: `package.module:function` of a world config instead of the settings' world; may be empty.
            address: address of this node that the other ranks reach.
        """
        from torch.distributed import TCPStore

        from flashdreams.core import distributed

        spec = self._spec
        try:
            others = ray.get([each.place.remote() for each in self._actors], timeout=RANKS_SECONDS)
        except ray.exceptions.RayError as error:
            raise RuntimeError(f"not all of the {spec.ranks} ranks of {self._name} began: {error}") from error
        self.places = [own_place(), *others]
        self._store = TCPStore(address, 0, is_master=True, wait_for_workers=False)
        first, *rest = rank_environments(self.places, address, self._store.port)
        self._work = [
            each.follow.remote(environment, spec, settings, module)
            for each, environment in zip(self._actors, rest, strict=True)
        ]
        os.environ.update(first)
        threading.Thread(target=self._watch, name="ranks", daemon=True).start()
        distributed.init(device_of(spec))
        log.warning("world server %s has %d ranks: %s", self._name, spec.ranks, "; ".join(map(_described, self.places)))

    def fails_if(self, failing: Callable[[], bool]) -> None:
        """Let the group live on after an error in a rank where `failing` returns True: the first rank tells of it."""
        self._failing = failing

    def stop(self) -> None:
        """Expect the ranks to end: this process is about to."""
        self._stopping = True

    def _watch(self) -> None:
        """Wait until a rank ends, and end this process too: Ray starts the group again."""
        (ended, *_), _ = ray.wait(self._work)
        rank, died = self._work.index(ended) + 1, False
        try:
            ray.get(ended)
            reason = "it ended"
        except ray.exceptions.RayTaskError as error:
            reason = f"{type(error.cause).__name__}: {error.cause}"
        except ray.exceptions.RayError as error:
            reason, died = type(error).__name__, True
        if self._stopping:
            return
        log.error("rank %d of world server %s is gone (%s)", rank, self._name, reason)
        if not died and self._failing():
            return
        log.error("world server %s ends, and starts again with all of its ranks", self._name)
        os._exit(GONE_STATUS)


def group_strategy(name: str, spec: RankSpec) -> PlacementGroupSchedulingStrategy:
    """Ask Ray for a group of bundles, and return the strategy that places a world server in the first of them.

    Returns at once: Ray places the group when there is room, see `group_waits`.
    """
    remove_group(name)
    group = placement_group(spec.bundles, strategy=spec.strategy, name=name, lifetime="detached")
    return PlacementGroupSchedulingStrategy(group, 0)


def remove_group(name: str) -> None:
    """Give back the bundles of a world server, and end what runs in them; nothing happens if it has none."""
    try:
        group = get_placement_group(name)
    except ValueError:
        return
    remove_placement_group(group)


def groups_without(names: Iterable[str], prefix: str) -> set[str]:
    """Return the names of groups of world servers that are not among `names`.

    Such an actor could not begin and is gone, or is about to begin: its group comes first.
    """
    kept, groups = set(names), placement_group_table().values()
    return {
        group["name"] for group in groups if group["name"].startswith(prefix) and group["state"] != "REMOVED"
    } - kept


def group_waits(names: Iterable[str]) -> dict[str, str]:
    """Return what the world servers wait for, of `names`, whose groups have no place yet."""
    waits = {}
    for name in names:
        try:
            told = placement_group_table(get_placement_group(name))
        except ValueError:
            continue
        if told.get("state") in UNPLACED:
            waits[name] = missing_resources(_spec_of(told), *_resources())
    return waits


def own_place() -> RankPlace:
    """Return where Ray has put this process."""
    context = ray.get_runtime_context()
    gpus = tuple(map(str, context.get_accelerator_ids().get(GPU, ())))
    return RankPlace(context.get_node_id(), ray.util.get_node_ip_address(), gpus, os.getpid())


def device_of(spec: RankSpec) -> str:
    """Return the type of device on which the ranks work."""
    return "cuda" if spec.gpus else "cpu"


def _spec_of(told: Mapping[str, Any]) -> RankSpec:
    bundles = list(told["bundles"].values())
    across = told["strategy"] == "PACK"
    return RankSpec(
        ranks=len(bundles), cpus=bundles[0].get(CPU, 0.0), gpus=bundles[0].get(GPU, 0.0), across_nodes=across
    )


def _resources() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return all and the free resources by node."""
    from ray._private.state import available_resources_per_node  # Ray's public functions tell the sum alone

    total = {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}
    return total, {node: free for node, free in available_resources_per_node().items() if node in total}


def _described(place: RankPlace) -> str:
    return f"{place.address} " + (f"GPU {' '.join(place.gpus)}" if place.gpus else f"process {place.pid}")
