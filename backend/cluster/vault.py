"""The vault: copies of sessions outside the servers that play them, to continue from when a server dies.

The first of the two vaults also has the claims, so that a session is continued at one server only.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from backend.cluster.claims import Claims

NAMES = ("vault-0", "vault-1")
"""Each has all copies; the first one, on the head, has the claims as well."""
HEAD = "node:__internal_head__"
"""Resource that Ray gives to the head node alone."""
MAX_BYTES = 2 * 1024**3
"""Memory of all copies; the oldest are dropped."""
LOST_SECONDS = 300.0
"""Time for which the copies of a run that is heard of no more are kept."""
ASK_SECONDS = 5.0

log = logging.getLogger(__name__)


class Vault:
    """The newest copy of each session, by token, and the run of a server that it was of."""

    def __init__(self, max_bytes: int = MAX_BYTES, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes, self._clock = max_bytes, clock
        self._copies: dict[str, tuple[str, bytes]] = {}
        self._heard: dict[str, float] = {}
        """When each run of a server was heard of last."""
        self._claims = Claims(clock)

    def epoch(self, token: str) -> str:
        """Return the epoch of a session, see `Claims.epoch`."""
        return self._claims.epoch(token)

    def claim(self, token: str, server: str, epoch: str) -> tuple[str | None, str]:
        """Claim a session for a server, see `Claims.claim`."""
        return self._claims.claim(token, server, epoch)

    def confirm(self, token: str, key: str) -> bool:
        """Confirm a claim, see `Claims.confirm`."""
        return self._claims.confirm(token, key)

    def abandon(self, token: str, key: str) -> bool:
        """Give a claim up, see `Claims.abandon`."""
        return self._claims.abandon(token, key)

    def keep(self, run: str, copies: Mapping[str, bytes], alive: Sequence[str]) -> None:
        """Keep `copies` of a server's run, and drop those of its sessions that are no longer among `alive`.

        A server that starts again is another run, which says nothing of the sessions that died with the one before.
        """
        living, now = set(alive), self._clock()
        self._heard[run] = now
        lost = {other for other, heard in self._heard.items() if now - heard > LOST_SECONDS}
        for token, (owner, _) in list(self._copies.items()):
            if owner in lost or (owner == run and token not in living):
                del self._copies[token]
        self._heard = {other: heard for other, heard in self._heard.items() if other not in lost}
        for token in living & copies.keys():  # a session may have been moved since it was copied
            self._keep(run, token, copies[token])

    def keep_moved(self, run: str, token: str, state: bytes) -> None:
        """Keep the state with which a session was moved to a server's `run`."""
        self._heard[run] = self._clock()
        self._keep(run, token, state)

    def _keep(self, run: str, token: str, state: bytes) -> None:
        self._copies.pop(token, None)
        self._copies[token] = (run, state)
        while len(self._copies) > 1 and sum(len(state) for _, state in self._copies.values()) > self._max_bytes:
            del self._copies[next(iter(self._copies))]

    def take(self, token: str) -> bytes | None:
        """Return the copy of a session; None where there is none."""
        found = self._copies.get(token)
        return None if found is None else found[1]

    def has(self, token: str) -> bool:
        """Return True if there is a copy of a session."""
        return token in self._copies


def start_vaults() -> None:
    """Start two vaults as detached actors: one on the head, one on another node where there is one.

    Those that run already stay. A node that dies takes a server along, and may take one vault: the other one has the
    copies as well. The one on the head is there as long as the cluster is.
    """
    from backend.cluster.ray_fleet import NAMESPACE

    others = sorted(node["NodeID"] for node in ray.nodes() if node["Alive"] and HEAD not in node["Resources"])
    # The head by a resource, which Ray always obeys: a node that does not know the others yet takes an actor itself.
    places: list[dict[str, Any]] = [{"resources": {HEAD: 0.001}}, {}]
    if others:
        places[1] = {"scheduling_strategy": NodeAffinitySchedulingStrategy(others[0], soft=True)}
    actor: Any = ray.remote(Vault)
    for name, place in zip(NAMES, places, strict=True):
        actor.options(
            name=name,
            namespace=NAMESPACE,
            lifetime="detached",
            num_cpus=0,
            max_restarts=-1,
            get_if_exists=True,
            **place,
        ).remote()


async def keep_copies(run: str, copies: Mapping[str, bytes], alive: Sequence[str]) -> None:
    """Hand copies to the vaults."""
    kept = ray.put(dict(copies))
    await _tell(lambda vault: vault.keep.remote(run, kept, list(alive)))


async def keep_moved(run: str, token: str, state: Any) -> None:
    """Hand the vaults the state (or a reference to it) with which a session was moved to a server's `run`."""
    await _tell(lambda vault: vault.keep_moved.remote(run, token, state))


async def copy_of(token: str) -> bytes | None:
    """Return a vault's copy of a session; None where there is none, or no vault.

    Raises LookupError if a vault that may have one does not answer.
    """
    found: bytes | None = await _first(lambda vault: vault.take.remote(token))
    return found


async def has_copy(token: str) -> bool:
    """Return True if a vault has a copy of a session; False also where there is no vault.

    Raises LookupError if a vault that may have one does not answer.
    """
    return bool(await _first(lambda vault: vault.has.remote(token)))


async def epoch_of(token: str) -> str:
    """Return the epoch of a session. Raises LookupError if the vault with the claims does not answer."""
    epoch: str = await _claims(lambda vault: vault.epoch.remote(token))
    return epoch


async def claim(token: str, server: str, epoch: str) -> str:
    """Claim a session for a server, which is refused if its epoch is not `epoch` any more; returns the claim's key.

    Raises LookupError if somebody else takes the session up, or the vault does not answer: then it is not known who has
    it, all stays as it is, and whoever wants it tries again.
    """
    mine: str | None
    mine, holder = await _claims(lambda vault: vault.claim.remote(token, server, epoch))
    if mine is None:
        raise LookupError(f"the session goes on at {holder or 'another server'}")
    return mine


async def confirm(token: str, key: str) -> bool:
    """Return True if the claim of `key` is in force, for the server that has the session now.

    Raises LookupError if the vault does not answer. The server gives the session up then: it is continued later from
    the copy, or goes on where it was to be moved from.
    """
    confirmed: bool = await _claims(lambda vault: vault.confirm.remote(token, key))
    return confirmed


async def abandon(token: str, key: str) -> bool:
    """Give up the claim of `key`; returns True once it can be confirmed no more.

    Returns False if it was confirmed before, or the vault does not answer, when it may be.
    """
    try:
        abandoned: bool = await _claims(lambda vault: vault.abandon.remote(token, key))
    except LookupError:
        return False
    return abandoned


async def _claims(ask: Callable[[Any], Awaitable[Any]]) -> Any:
    """Ask the vault with the claims. Raises LookupError if it does not answer, or is not there."""
    answer = await _answer(NAMES[0], ask)
    if answer is None:
        raise LookupError(f"there is no {NAMES[0]}")
    return answer


async def _first(ask: Callable[[Any], Awaitable[Any]]) -> Any:
    """Ask every vault; returns the first answer that is not empty, and None where all are.

    The other vault may have died with the server whose visitors wait: nobody waits for it then.
    """
    asking = [asyncio.create_task(_answer(name, ask)) for name in NAMES]
    silent: LookupError | None = None
    try:
        for answer in asyncio.as_completed(asking):
            try:
                if found := await answer:
                    return found
            except LookupError as error:
                silent = error
    finally:
        for task in asking:
            task.cancel()
    if silent is not None:
        raise silent
    return None


async def _tell(tell: Callable[[Any], Awaitable[Any]]) -> None:
    """Tell every vault something; it does not matter here if one does not answer."""
    await asyncio.gather(*(_answer(name, tell) for name in NAMES), return_exceptions=True)


async def _answer(name: str, ask: Callable[[Any], Awaitable[Any]]) -> Any:
    """Ask one vault; returns None if there is none. Raises LookupError if it does not answer."""
    from backend.cluster.ray_fleet import NAMESPACE

    try:
        actor = await asyncio.to_thread(ray.get_actor, name, NAMESPACE)
    except ValueError:
        return None
    try:
        return await asyncio.wait_for(ask(actor), ASK_SECONDS)
    except (ray.exceptions.RayError, TimeoutError) as error:
        log.warning("%s did not answer: %s", name, type(error).__name__)
        raise LookupError(f"{name} does not answer") from error
