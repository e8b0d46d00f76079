"""The vault: copies of sessions outside the servers that play them, to continue from when a server dies."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import ray

NAME = "vault"
MAX_BYTES = 2 * 1024**3
"""Memory of all copies; the oldest are dropped."""
ASK_SECONDS = 5.0

log = logging.getLogger(__name__)


class Vault:
    """The newest copy of each session, by token, and the server that it was of."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._copies: dict[str, tuple[str, bytes]] = {}

    def keep(self, server: str, copies: Mapping[str, bytes], alive: Sequence[str]) -> None:
        """Keep `copies` of `server`, and drop those of its sessions that are no longer among `alive`."""
        living = set(alive)
        for token in [t for t, (owner, _) in self._copies.items() if owner == server and t not in living]:
            del self._copies[token]
        for token in living & copies.keys():  # a session may have been moved since it was copied
            self._keep(server, token, copies[token])

    def keep_moved(self, server: str, token: str, state: bytes) -> None:
        """Keep the state with which a session was moved to `server`."""
        self._keep(server, token, state)

    def _keep(self, server: str, token: str, state: bytes) -> None:
        self._copies.pop(token, None)
        self._copies[token] = (server, state)
        while len(self._copies) > 1 and sum(len(state) for _, state in self._copies.values()) > self._max_bytes:
            del self._copies[next(iter(self._copies))]

    def take(self, token: str) -> bytes | None:
        """Return the copy of a session; None where there is none."""
        found = self._copies.get(token)
        return None if found is None else found[1]

    def has(self, token: str) -> bool:
        """Return True if there is a copy of a session."""
        return token in self._copies


def start_vault() -> Any:
    """Start the vault as a detached actor, or return the one that runs."""
    from backend.cluster.ray_fleet import NAMESPACE

    actor: Any = ray.remote(Vault)
    return actor.options(
        name=NAME, namespace=NAMESPACE, lifetime="detached", num_cpus=0, max_restarts=-1, get_if_exists=True
    ).remote()


async def keep_copies(server: str, copies: Mapping[str, bytes], alive: Sequence[str]) -> None:
    """Hand copies to the vault."""
    await asyncio.wait_for(vault().keep.remote(server, dict(copies), list(alive)), ASK_SECONDS)


async def copy_of(token: str) -> bytes | None:
    """Return the vault's copy of a session; None where there is none, or no vault."""
    try:
        state: bytes | None = await asyncio.wait_for(vault().take.remote(token), ASK_SECONDS)
        return state
    except (ValueError, ray.exceptions.RayError, TimeoutError) as error:
        log.warning("the vault did not answer: %s", type(error).__name__)
        return None


async def has_copy(token: str) -> bool:
    """Return True if the vault has a copy of a session; False also where there is no vault."""
    try:
        return bool(await asyncio.wait_for(vault().has.remote(token), ASK_SECONDS))
    except (ValueError, ray.exceptions.RayError, TimeoutError) as error:
        log.warning("the vault did not answer: %s", type(error).__name__)
        return False


def vault() -> Any:
    """Return the vault's actor. Raises ValueError if none runs."""
    from backend.cluster.ray_fleet import NAMESPACE

    return ray.get_actor(NAME, NAMESPACE)
