"""The lookup of a session: all world servers are asked which one has it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import httpx

ASK_SECONDS = 3.0
"""Time in which a server must answer a question about its state."""


class Addresses(Protocol):
    """The world servers that are there now."""

    async def addresses(self) -> Mapping[str, str]:
        """Return base address (`http://host:port`) by server name."""

    async def forget(self, name: str) -> None:
        """Ask again for the address of `name`: it could not be reached."""


@dataclass(frozen=True)
class _Held:
    """A server's answer about a session."""

    state: Literal["alive", "ended", "unknown", "silent"]
    moved_to: str | None = None


class SessionLookup:
    """Asks the servers of a fleet for sessions."""

    def __init__(self, fleet: Addresses, http: httpx.AsyncClient, cookie: Mapping[str, str]) -> None:
        """Ask by `http`, with the header `cookie` that the servers want."""
        self._fleet, self._http, self._cookie = fleet, http, dict(cookie)

    async def server_of(self, token: str) -> str | None:
        """Return the server that has the session of `token` (play or watch token); None where none has.

        A living session comes before what an ended one left. Raises LookupError if it may be at a server that does not
        answer, or whose address is not known here yet.
        """
        addresses = await self._fleet.addresses()
        found = await self._ask(token, addresses)
        # The new server of a moved session may have been asked before it got the session, and the old one after that.
        late, asked = _unknown_goals(found), set[str]()
        while late - asked:
            asked |= late
            found |= await self._ask(token, {name: addresses[name] for name in late})
            late = _unknown_goals(found)
        if (alive := next((name for name, held in found.items() if held.state == "alive"), None)) is not None:
            return alive
        for name, held in found.items():
            if held.state == "silent":
                raise LookupError(f"world server {name} does not answer")
            if held.moved_to is not None and held.moved_to not in addresses:
                raise LookupError(f"the address of world server {held.moved_to} is not known yet")
        return next((name for name, held in found.items() if held.state == "ended" and not held.moved_to), None)

    async def _ask(self, token: str, addresses: Mapping[str, str]) -> dict[str, _Held]:
        answers = await asyncio.gather(*(self._held(name, at, token) for name, at in addresses.items()))
        return dict(zip(addresses, answers, strict=True))

    async def _held(self, name: str, address: str, token: str) -> _Held:
        try:
            answer = await self._http.get(f"{address}/api/sessions/{token}", headers=self._cookie, timeout=ASK_SECONDS)
        except (httpx.ConnectError, httpx.InvalidURL):  # nobody listens: the server is gone, with its sessions
            return _Held("unknown")
        except httpx.HTTPError:
            await self._fleet.forget(name)
            return _Held("silent")
        if answer.status_code != 200:
            return _Held("unknown")
        told = answer.json()
        return _Held("alive" if told["alive"] else "ended", told.get("moved_to"))


def _unknown_goals(found: Mapping[str, _Held]) -> set[str]:
    """Return the servers to which a session was moved, by the answers of others, and which did not know it."""
    goals = {held.moved_to for held in found.values()}
    return {name for name, held in found.items() if name in goals and held.state == "unknown"}
