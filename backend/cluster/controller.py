"""The controller: one Ray actor that adds world servers where places run short and drains those to spare."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from backend.cluster.placement import Load, ScalingPolicy, StartWaits, choose_server, scale, spare_server
from backend.cluster.ray_fleet import NAMESPACE, PREFIX, RayFleet, server_names, start_server, stop_server
from backend.cluster.ray_group import group_waits, groups_without, remove_group
from backend.cluster.relay import Relay
from backend.cluster.vault import abandon, claim, epoch_of, keep_moved

NAME = "controller"
ROUND_SECONDS = 2.0
"""Time between two looks at the loads."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ServerSpec:
    """Command and settings of a world server."""

    settings: Mapping[str, Any]
    """Fields of `backend.settings.Settings`."""
    cpus: float = 2.0
    """CPU cores of each of its processes."""
    gpus: float = 0.0
    """GPUs of each."""
    ranks: int = 1
    """Processes that share the world."""
    across_nodes: bool = False
    """True if they may be on several nodes."""
    host: str = "127.0.0.1"
    """Address at which it listens; empty: that of its node."""
    replicate: float = 5.0
    """Seconds between copies of sessions outside their server; 0: none."""
    module: str | None = None
    """`package.module:function` of a world config, for tests."""


class Controller:
    """Keeps the number of servers within a policy. Holds nothing that a restart would lose but what is draining."""

    def __init__(
        self, spec: ServerSpec, policy: ScalingPolicy, secret: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._spec, self._policy, self._clock = spec, policy, clock
        self._waits = StartWaits()
        self._relay = Relay(RayFleet(), secret)
        self._draining: set[str] = set()
        self._idle_rounds = 0
        self._reasons: dict[str, str] = {}
        """Resources that each server without a place was said to wait for."""
        self._lost: set[str] = set()
        """Groups that had no server in the round before."""

    async def run(self) -> None:
        """Look at the loads every other second, until the actor ends."""
        while True:
            try:
                await self.step()
            except Exception:  # a round that fails must not end the controller
                log.exception("a round of scaling failed")
            await asyncio.sleep(ROUND_SECONDS)

    async def step(self) -> None:
        """Do one round: finish drains, then add or drain at most one server."""
        names = await asyncio.to_thread(server_names)
        loads = await self._relay.loads()
        # A server that does not answer yet counts as loading, or the next round would add another one.
        known = {name: loads.get(name, Load(status="loading")) for name in names}
        await self._look_at_groups(names, loads)
        await self._finish_drains(known)
        if (wait := self._waits.look(known, self._clock())) is not None:
            log.warning("a world server could not start, its own log says why; the next try is in %g s", wait)
        self._idle_rounds = self._idle_rounds + 1 if spare_server(known, self._policy) else 0
        decision = scale(known, self._policy, self._idle_rounds)
        if decision.action == "add":
            if self._clock() >= self._waits.not_before:
                await self._clear_away(known)
                self._waits.started(await self.add())
        elif decision.action == "drain" and decision.server is not None:
            self._idle_rounds = 0
            await self.drain(decision.server)

    async def add(self) -> str:
        """Start one more server and return its name."""
        taken = set(await asyncio.to_thread(server_names))
        name = next(f"{PREFIX}{number}" for number in range(len(taken) + 1) if f"{PREFIX}{number}" not in taken)
        spec = self._spec
        await asyncio.to_thread(
            start_server,
            name,
            spec.settings,
            cpus=spec.cpus,
            gpus=spec.gpus,
            host=spec.host,
            module=spec.module,
            replicate=spec.replicate,
            ranks=spec.ranks,
            across_nodes=spec.across_nodes,
        )
        log.info("world server %s was started", name)
        return name

    async def drain(self, name: str) -> None:
        """Give `name` no new visits, and stop it once its sessions are over. Raises ValueError for an unknown name."""
        await ray.get_actor(name, NAMESPACE).drain.remote()
        self._draining.add(name)
        log.info("world server %s is draining", name)

    async def move(self, token: str, target: str | None = None) -> str:
        """Move a session to server `target`, or to the best one, and return the server's name.

        Raises LookupError for a session or server that is not there, or if the target cannot take it; then the session
        goes on where it is.
        """
        claims = self._spec.replicate > 0  # else there are no vaults, and nobody else continues sessions
        epoch = await epoch_of(token) if claims else ""  # first: whoever takes the session up from now on changes it
        source = await self._relay.server_of(token)
        if source is None:
            raise LookupError("no server has that session")
        others = {name: load for name, load in (await self._relay.loads()).items() if name != source and load.free}
        chosen = choose_server(others if target is None else {n: load for n, load in others.items() if n == target})
        if chosen is None:
            raise LookupError(f"no place is free at {target or 'any other server'}")
        origin: Any = ray.get_actor(source, NAMESPACE)
        goal: Any = ray.get_actor(chosen, NAMESPACE)
        mine = await claim(token, chosen, epoch) if claims else None
        try:
            state = origin.freeze.remote(token)  # a reference: the bytes go from server to server
            run = await goal.adopt.remote(state, mine)
        except ray.exceptions.RayError as error:
            if not await self._goes_on_at(goal, token, mine):
                await origin.thaw.remote(token)
                raise LookupError(f"{chosen} could not take the session: {error}") from error
            run = None
        if claims and run is not None:
            await keep_moved(run, token, state)  # the vaults drop it from those of the old server
        await origin.release.remote(token, chosen)
        log.info("a session was moved from %s to %s", source, chosen)
        return chosen

    async def _goes_on_at(self, goal: Any, token: str, claimed: str | None) -> bool:
        """Return True if server `goal` has a session though its answer was lost.

        In doubt the session goes on where it was: where the goal could confirm the claim and does not answer.
        """
        if claimed is None or await abandon(token, claimed):
            return False
        try:
            return token in await goal.tokens.remote()
        except ray.exceptions.RayError:
            return False

    async def _look_at_groups(self, names: Sequence[str], loads: Mapping[str, Load]) -> None:
        """Tell of groups that wait for a place, whenever the reason changes; give bundles of lost servers back."""
        if self._spec.ranks == 1:
            return
        lost = await asyncio.to_thread(groups_without, names, PREFIX)
        for name in sorted(lost & self._lost):  # in two rounds: a server that was added meanwhile has its group first
            await asyncio.to_thread(remove_group, name)
        self._lost = lost
        waits = await asyncio.to_thread(group_waits, [name for name in names if name not in loads])
        for name, reason in waits.items():
            if self._reasons.get(name) != reason:
                log.warning("world server %s has no place: it %s", name, reason)
        self._reasons = waits

    async def _empty(self, name: str) -> None:
        """Move the sessions of a draining server to others, as far as there are places."""
        try:
            tokens = await ray.get_actor(name, NAMESPACE).tokens.remote()
        except (ValueError, ray.exceptions.RayError):
            return
        for token in tokens:
            try:
                await self.move(token)
            except (LookupError, ray.exceptions.RayError) as error:
                log.info("a session stays at %s until it ends: %s", name, error)

    async def _clear_away(self, loads: Mapping[str, Load]) -> None:
        """Stop servers whose world did not load: they would keep cores and GPUs from the next one."""
        for name in [name for name, load in loads.items() if load.status == "failed" and not load.sessions]:
            await asyncio.to_thread(stop_server, name)
            log.warning("world server %s was stopped: its world could not be loaded", name)

    async def _finish_drains(self, loads: Mapping[str, Load]) -> None:
        for name in sorted(self._draining):
            load = loads.get(name)
            if load is None or (load.sessions == 0 and load.status == "draining"):
                self._draining.discard(name)
                await asyncio.to_thread(stop_server, name)
                log.info("world server %s was stopped after draining", name)
            else:
                await self._empty(name)


def start_controller(spec: ServerSpec, policy: ScalingPolicy, secret: str) -> Any:
    """Start the controller as a detached actor, or return the one that runs."""
    actor: Any = ray.remote(Controller)
    controller = actor.options(
        name=NAME,
        namespace=NAMESPACE,
        lifetime="detached",
        num_cpus=0.1,
        max_restarts=-1,
        max_concurrency=16,
        get_if_exists=True,
    ).remote(spec, policy, secret)
    controller.run.remote()
    return controller
