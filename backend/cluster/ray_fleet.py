"""The fleet on Ray: world servers are named actors of one namespace, found by any process of the cluster."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any

import ray
from ray.util import list_named_actors

from backend.cluster.groups import RankPlace, RankSpec
from backend.cluster.ray_group import group_strategy, group_waits, remove_group
from backend.cluster.starts import Starts
from backend.cluster.vault import abandon, claim, copy_of, epoch_of, has_copy
from backend.cluster.world_server import WorldServer

NAMESPACE = "flashdreams"
PREFIX = "world-"
"""Beginning of the names of world servers; other actors of the namespace have other names."""
LIST_SECONDS = 1.0
"""Age at which the list of servers is asked for again."""
ADDRESS_SECONDS = 10.0
"""Time after which a server that told no address is asked anew."""
FIRST_SECONDS = 1.0
"""Time that one list waits for the addresses of new servers."""
RANKS_SECONDS = 3.0
"""Time in which a server must tell its ranks."""
RESTORE_SECONDS = 20.0
"""Time in which a server must have taken up a session again."""

log = logging.getLogger(__name__)


class RayFleet:
    """Addresses of the world servers, asked of Ray; the list is at most a second old."""

    def __init__(self) -> None:
        self._addresses: dict[str, str] = {}
        self._asking: dict[str, asyncio.Task[str | None]] = {}
        self._doubted: set[str] = set()
        """Servers whose address did not answer."""
        self._listed = float("-inf")
        self._lock = asyncio.Lock()

    async def addresses(self) -> Mapping[str, str]:
        """Return base address by server name. A server that starts, or waits for a node, is left out."""
        async with self._lock:
            if time.monotonic() - self._listed >= LIST_SECONDS:
                await self._list()
                self._listed = time.monotonic()
            return dict(self._addresses)

    async def _list(self) -> None:
        names = await asyncio.to_thread(server_names)
        self._addresses = {name: at for name, at in self._addresses.items() if name in names}
        self._doubted &= set(names)
        for name in [name for name in self._asking if name not in names]:
            self._asking.pop(name).cancel()
        new = {name: asyncio.create_task(_address(name)) for name in names if not self._known(name)}
        self._asking |= new
        if new:
            # Asked for on: an actor that Ray cannot place yet answers nothing, and must not hold up the others.
            await asyncio.wait(new.values(), timeout=FIRST_SECONDS)
        for name in [name for name, asking in self._asking.items() if asking.done()]:
            if (address := self._asking.pop(name).result()) is not None:
                self._addresses[name] = address
                self._doubted.discard(name)

    def _known(self, name: str) -> bool:
        return name in self._asking or (name in self._addresses and name not in self._doubted)

    async def forget(self, name: str) -> None:
        """Ask again for the address of `name`: a restarted actor listens on another port.

        The old one stays until there is another: a server that is slow to answer has its sessions all the same.
        """
        self._doubted.add(name)
        self._listed = float("-inf")

    async def restorable(self, token: str) -> str | None:
        """Return the epoch of the session of `token` if a vault has a copy of it.

        Raises LookupError if that cannot be known.
        """
        return await epoch_of(token) if await has_copy(token) else None

    async def restore(self, token: str, name: str, epoch: str) -> None:
        """Continue the session of a dead server from its copy, at server `name`.

        Raises LookupError if it does not go on there, as far as is known here: the server could not take it, somebody
        else takes it up since `epoch`, or a vault does not answer.
        """
        state = await copy_of(token)
        if state is None:
            raise LookupError("there is no copy of the session any more")
        mine = await claim(token, name, epoch)
        adopting: Any = None
        try:
            adopting = ray.get_actor(name, NAMESPACE).adopt.remote(state, mine)
            await asyncio.wait_for(adopting, RESTORE_SECONDS)
        except (ValueError, ray.exceptions.RayError, TimeoutError) as error:
            if isinstance(error, TimeoutError) and adopting is not None:
                ray.cancel(adopting)
            await abandon(token, mine)  # if the server gets to it after all, it does not keep the session
            raise LookupError(f"{name} could not continue a session: {str(error) or type(error).__name__}") from error
        log.info("a session of a dead server goes on at %s", name)


async def _address(name: str) -> str | None:
    try:
        actor = await asyncio.to_thread(ray.get_actor, name, NAMESPACE)
        address: str = await asyncio.wait_for(actor.address.remote(), ADDRESS_SECONDS)
        return address
    except (ValueError, ray.exceptions.RayError, TimeoutError) as error:
        log.info("world server %s has no address yet: %s", name, type(error).__name__)
        return None


def server_names() -> list[str]:
    """Return the names of all world servers, sorted."""
    actors = list_named_actors(all_namespaces=True)
    return sorted(a["name"] for a in actors if a["namespace"] == NAMESPACE and a["name"].startswith(PREFIX))


def start_server(
    name: str,
    settings: Mapping[str, Any],
    *,
    cpus: float,
    gpus: float,
    host: str,
    module: str | None = None,
    replicate: float = 0.0,
    ranks: int = 1,
    across_nodes: bool = False,
) -> Any:
    """Start a world server as a detached named actor and return its handle. Ray places it and restarts it.

    With more than one of `ranks` it is the first process of a group, and `cpus` and `gpus` are those of each.
    """
    Starts(name).loaded()  # of another server of that name
    group = RankSpec(ranks=ranks, cpus=cpus, gpus=gpus, across_nodes=across_nodes)
    # A node that dies should take few servers along.
    strategy: Any = "SPREAD" if ranks == 1 else group_strategy(name, group)
    actor: Any = ray.remote(WorldServer)
    return actor.options(
        name=name,
        namespace=NAMESPACE,
        lifetime="detached",
        num_cpus=cpus,
        num_gpus=gpus,
        max_restarts=-1,
        max_concurrency=16,
        scheduling_strategy=strategy,
    ).remote(name, dict(settings), host, module, replicate, group)


def ranks_of(names: Iterable[str]) -> dict[str, list[RankPlace]]:
    """Return the places of the processes of world servers, of those that tell them."""
    found: dict[str, list[RankPlace]] = {}
    for name in names:
        try:
            found[name] = ray.get(ray.get_actor(name, NAMESPACE).ranks.remote(), timeout=RANKS_SECONDS)
        except (ValueError, ray.exceptions.RayError) as error:
            log.info("world server %s does not tell its ranks: %s", name, type(error).__name__)
    return found


def stop_server(name: str) -> None:
    """Stop a world server for good; its visitors are told first. Does nothing for a name that is not there."""
    try:
        actor = ray.get_actor(name, NAMESPACE)
    except ValueError:
        remove_group(name)
        return
    try:
        if not group_waits([name]):  # else it has not begun, and nobody would answer
            ray.get(actor.stop.remote(), timeout=15)
    except ray.exceptions.RayError as error:
        log.warning("world server %s did not stop by itself: %s", name, type(error).__name__)
    ray.kill(actor, no_restart=True)
    remove_group(name)
