"""The front door's work: carries each request and each WebSocket to the world server that it belongs to.

It holds no state but a cache of loads: any front door finds any session, by asking the servers.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import httpx
from fastapi import Request, WebSocket
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.websockets import WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from backend.cluster import lookup
from backend.cluster.lookup import Addresses, SessionLookup
from backend.cluster.placement import Load, choose_server

SECRET_COOKIE = "flashdreams_access"
LOADS_SECONDS = 0.5
"""Age at which load reports are asked for again."""
WATCH_SECONDS = 2.0
"""Time between two looks at the list of servers while no visitor comes."""
REQUEST_SECONDS = 60.0
"""Time in which a server must answer a request that is carried to it."""
FIRST_MESSAGE_SECONDS = 20.0
"""Time in which a client must send its first message."""
PLACE_SECONDS = 10.0
"""Time in which a server must be reached for a visit."""
RETRY_SECONDS = 0.5
MAX_MESSAGE_BYTES = 2**24
"""Largest message that is carried either way."""
NORMAL, ABNORMAL, LINE_BROKE = 1000, 1006, 1011
LEAVING = frozenset({1000, 1001})
"""Codes with which a page closes that was left or reloaded."""
SERVICE_RESTART = 1012
TRY_AGAIN = 1013
HOP_HEADERS = frozenset({"connection", "keep-alive", "transfer-encoding", "upgrade", "host", "content-length", "te"})

log = logging.getLogger(__name__)


class Fleet(Addresses, Protocol):
    """World servers, and copies of the sessions of those that died."""

    async def restorable(self, token: str) -> str | None:
        """Return the epoch of the session of `token` if there is a copy of it: it changes when someone takes it up.

        Raises LookupError if that cannot be known now.
        """

    async def restore(self, token: str, name: str, epoch: str) -> None:
        """Continue the session of `token` at server `name` from its copy, unless its epoch has changed.

        Raises LookupError if it does not go on there.
        """


class _Visit:
    """A client's socket, and the server that it is carried to."""

    def __init__(self, socket: WebSocket, first: str | bytes) -> None:
        self._socket = socket
        self.first = first
        """The client's first message, which a server needs before all others."""
        self.name: str | None = None
        """Name of the server; None until one is chosen."""
        self.broken = False
        """True once the client's line broke, unlike a page that was closed."""

    async def send(self, message: str | bytes) -> None:
        """Send the client a message of the server."""
        await (self._socket.send_text(message) if isinstance(message, str) else self._socket.send_bytes(message))

    async def carry_up(self, server: ClientConnection) -> None:
        """Carry the client's messages to the server until the client leaves."""
        with contextlib.suppress(ConnectionClosed, WebSocketDisconnect, RuntimeError):
            while (message := await self._socket.receive())["type"] != "websocket.disconnect":
                await server.send(_payload(message))
            self.broken = message.get("code") not in LEAVING

    async def close(self, code: int, reason: str) -> None:
        """Close the client's socket; it may be closed already."""
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):
            await self._socket.close(code, reason)


class Relay:
    """Carries requests and sockets to the servers of a fleet."""

    def __init__(self, fleet: Fleet, secret: str) -> None:
        """Relay with `secret`, the servers' access token, which clients never see."""
        self._fleet = fleet
        self._cookie = {"cookie": f"{SECRET_COOKIE}={secret}"} if secret else {}
        self._http = httpx.AsyncClient(timeout=REQUEST_SECONDS, limits=httpx.Limits(max_connections=None))
        self._lookup = SessionLookup(fleet, self._http, self._cookie)
        self._loads: dict[str, Load] = {}
        self._asked = float("-inf")
        self._asking = asyncio.Lock()

    async def close(self) -> None:
        """Close the connections to the servers."""
        await self._http.aclose()

    async def loads(self) -> dict[str, Load]:
        """Return the load of each server that answers, at most half a second old."""
        async with self._asking:
            if time.monotonic() - self._asked >= LOADS_SECONDS:
                addresses = await self._fleet.addresses()
                answers = await asyncio.gather(*(self._health(name, at) for name, at in addresses.items()))
                self._loads = {name: load for name, load in zip(addresses, answers, strict=True) if load is not None}
                self._asked = time.monotonic()
            return self._loads

    async def _health(self, name: str, address: str) -> Load | None:
        try:
            answer = await self._http.get(f"{address}/healthz", headers=self._cookie, timeout=lookup.ASK_SECONDS)
            return Load.of(answer.json())
        except (httpx.HTTPError, ValueError):
            await self._fleet.forget(name)
            return None

    async def watch_servers(self) -> None:
        """Keep the servers' addresses up to date until cancelled, also while no visitor comes.

        A session may be moved to a new server that dies soon after: only who knew its address finds that nobody listens
        there any more, and restores the session.
        """
        while True:
            try:
                await self._fleet.addresses()
            except Exception as error:  # of any kind, as while Ray starts again; the next visitor who comes is told
                log.warning("the world servers could not be listed: %s", error)
            await asyncio.sleep(WATCH_SECONDS)

    async def server_of(self, token: str) -> str | None:
        """Return the server that has the session of `token`, see `SessionLookup.server_of`."""
        return await self._lookup.server_of(token)

    async def play(self, socket: WebSocket) -> None:
        """Carry one client's socket to the server of its session, or to the best one for a new session."""
        await socket.accept()
        try:
            first = await asyncio.wait_for(socket.receive(), FIRST_MESSAGE_SECONDS)
        except TimeoutError:
            await socket.close(1008, "no message came")
            return
        if first["type"] == "websocket.disconnect":
            return
        visit = _Visit(socket, _payload(first))
        try:
            while True:
                server = await self._reached(visit, first.get("text"))
                if not await self._carry(visit, server):
                    return
        except LookupError as error:
            log.warning("no server took a visit: %s", error)
            await visit.close(TRY_AGAIN, "no world server can be reached; try again in a moment")

    async def _reached(self, visit: _Visit, text: str | None) -> ClientConnection:
        """Connect to the visit's server, or to another one while that one cannot be reached.

        Raises LookupError if none could be reached for a while.
        """
        deadline = time.monotonic() + PLACE_SECONDS
        while True:
            try:
                visit.name = visit.name or await self._wanted(text)
                return await self._connected(visit.name)
            except (OSError, WebSocketException, LookupError) as error:  # a server that starts again needs a moment
                self._loads.pop(visit.name or "", None)
                visit.name = None
                if time.monotonic() > deadline:
                    raise LookupError(str(error)) from error
                await asyncio.sleep(RETRY_SECONDS)

    async def _wanted(self, text: str | None) -> str:
        """Return the server for a socket whose first message is `text`. Raises LookupError if no server is there."""
        token, epoch = _token_of(text), None
        if token is not None:
            if (server := await self.server_of(token)) is not None:
                return server
            epoch = await self._fleet.restorable(token)
            # Asked again after the epoch was read: if another door or a move takes it up from now on, that changes.
            if epoch is not None and (server := await self.server_of(token)) is not None:
                return server
        server = choose_server(await self.loads())  # a token that is known nowhere is answered by any server
        if server is None:
            raise LookupError("no world server is running")
        if token is not None and epoch is not None:
            if self._loads[server].free == 0:
                raise LookupError("no place is free for the session of a server that is gone")
            await self._fleet.restore(token, server, epoch)
        # Until the next report: visits that come together must not all go to one server.
        self._loads[server] = replace(self._loads[server], sessions=self._loads[server].sessions + 1)
        return server

    async def _freer_than(self, name: str) -> str | None:
        """Return a server with a free place for a visit that waits at server `name`; None where all are full."""
        free = {other: load for other, load in (await self.loads()).items() if other != name and load.free > 0}
        return choose_server(free)

    async def _connected(self, name: str) -> ClientConnection:
        try:
            address = (await self._fleet.addresses())[name]
            return await connect(
                address.replace("http", "ws", 1) + "/ws/play",
                additional_headers=self._cookie,
                max_size=MAX_MESSAGE_BYTES,
                compression=None,
                proxy=None,
                open_timeout=lookup.ASK_SECONDS,
            )
        except (OSError, InvalidStatus, TimeoutError):
            await self._fleet.forget(name)
            raise

    async def _carry(self, visit: _Visit, server: ClientConnection) -> bool:
        """Carry messages both ways until one side closes; returns True if the visit has a place at another server."""
        async with contextlib.AsyncExitStack() as stack:
            # A server keeps the place of a visitor whose line broke longer than that of one who left.
            stack.push_async_callback(lambda: server.close(LINE_BROKE if visit.broken else NORMAL))
            await server.send(visit.first)
            up = asyncio.create_task(visit.carry_up(server))
            down = asyncio.create_task(self._carry_down(visit, server))
            try:
                await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (up, down):
                    task.cancel()
                elsewhere, _ = await asyncio.gather(down, up, return_exceptions=True)
        if isinstance(elsewhere, str):
            visit.name = elsewhere
            return True
        lost = server.close_code in (None, ABNORMAL)  # the server is gone: a page that comes again finds another one
        await visit.close(SERVICE_RESTART if lost else server.close_code or SERVICE_RESTART, server.close_reason or "")
        return False

    async def _carry_down(self, visit: _Visit, server: ClientConnection) -> str | None:
        """Carry the server's messages to the client until the server closes.

        Returns the server to go to, where the visit has to wait at this one and another one has a free place.
        """
        placed = False
        with contextlib.suppress(ConnectionClosed, WebSocketDisconnect, RuntimeError):
            while True:
                message = await server.recv()
                if not placed and isinstance(message, str):
                    kind = _type_of(message)
                    placed = kind == "ready"
                    if kind == "queue" and (other := await self._freer_than(visit.name or "")) is not None:
                        return other
                await visit.send(message)
        return None

    async def forward(self, request: Request) -> Response:
        """Carry a request to the server of the session in its path, or to the least busy one; uploads go to all."""
        addresses = await self._fleet.addresses()
        if not addresses:
            return _unavailable()
        token = _session_in(request.url.path)
        try:
            name = None if token is None else await self.server_of(token)
        except LookupError:
            return _unavailable()
        name = name or choose_server(await self.loads()) or next(iter(addresses))
        body = await request.body()
        if request.method == "POST" and token is None:
            others = (self._send(request, at, body) for other, at in addresses.items() if other != name)
            answer, *_ = await asyncio.gather(self._send(request, addresses[name], body), *others)
            return answer
        return await self._send(request, addresses[name], body)

    async def _send(self, request: Request, address: str, body: bytes) -> Response:
        headers = [(k, v) for k, v in request.headers.items() if k not in HOP_HEADERS | {"cookie", "origin"}]
        query = f"?{request.url.query}" if request.url.query else ""
        try:
            answer = await self._http.request(
                request.method,
                f"{address}{request.url.path}{query}",
                headers=[*headers, *self._cookie.items()],
                content=body,
            )
        except httpx.HTTPError as error:
            log.warning("%s %s was not answered: %s", request.method, request.url.path, type(error).__name__)
            return _unavailable()
        kept = {k: v for k, v in answer.headers.items() if k not in HOP_HEADERS | {"content-encoding", "set-cookie"}}
        return Response(answer.content, answer.status_code, headers=kept)

    async def health(self) -> Response:
        """Return the health of the fleet as one server would: `ok` as soon as one server can play."""
        loads = await self.loads()
        states = [load.status for load in loads.values()]
        status = "ok" if "ok" in states else "loading" if "loading" in states or not states else "failed"
        total = {
            "status": status,
            "sessions": sum(load.sessions for load in loads.values()),
            "capacity": sum(load.capacity for load in loads.values()),
            "waiting": sum(load.waiting for load in loads.values()),
            "servers": {name: vars(load) for name, load in loads.items()},
        }
        return JSONResponse(total, 503 if status == "failed" else 200)

    async def metrics(self) -> Response:
        """Return every server's metrics with a label `server`, so that sums and single servers can be asked for."""
        addresses = await self._fleet.addresses()
        texts = await asyncio.gather(*(self._metrics(at) for at in addresses.values()))
        described: set[str] = set()
        lines = [line for name, text in zip(addresses, texts, strict=True) for line in _labelled(text, name, described)]
        return PlainTextResponse("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4; charset=utf-8")

    async def _metrics(self, address: str) -> str:
        try:
            return (await self._http.get(f"{address}/metrics", headers=self._cookie, timeout=lookup.ASK_SECONDS)).text
        except httpx.HTTPError:
            return ""


def _payload(message: Mapping[str, object]) -> str | bytes:
    text, data = message.get("text"), message.get("bytes")
    return text if isinstance(text, str) else data if isinstance(data, bytes) else b""


def _token_of(text: str | None) -> str | None:
    """Return the play or watch token of a `start` message; None for anything else, which the server answers itself."""
    try:
        message = json.loads(text or "")
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict) or message.get("type") != "start":
        return None
    token = message.get("token") or message.get("watch")
    return token if isinstance(token, str) and token.replace("-", "").replace("_", "").isalnum() else None


def _session_in(path: str) -> str | None:
    parts = path.split("/")
    return parts[3] if parts[1:3] == ["api", "sessions"] and len(parts) > 3 and parts[3] else None


def _type_of(message: str) -> str | None:
    try:
        kind = json.loads(message).get("type")
    except (ValueError, AttributeError):
        return None
    return kind if isinstance(kind, str) else None


def _labelled(text: str, server: str, described: set[str]) -> list[str]:
    """Add `server` to the labels of Prometheus lines; descriptions that another server gave are left out."""
    lines = []
    for line in text.splitlines():
        if line.startswith("#"):
            if line not in described:
                described.add(line)
                lines.append(line)
        elif line:
            family, brace, labels = line.partition("{")
            if brace:
                lines.append(f'{family}{{server="{server}",{labels}')
            else:
                family, _, value = line.partition(" ")
                lines.append(f'{family}{{server="{server}"}} {value}')
    return lines


def _unavailable() -> Response:
    sentence = "no world server can be reached; try again in a moment"
    return JSONResponse({"code": "unavailable", "message": sentence}, 503, headers={"retry-after": "2"})
