"""uvicorn, set up for live video: a bound socket, no compression, early limits, and a way to cut a stuck reader."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from backend.server.websocket import ABORT

MAX_FRAME_BYTES = 64 * 1024
"""Beyond this the socket is closed with 1009 unread; smaller messages over the protocol's limit are answered."""

SEND_BUFFER_BYTES = 64 * 1024
"""Of a player's socket: what waits unread is soon noticed; with 150 ms of travel it still carries 3 Mbit/s."""

log = logging.getLogger(__name__)


class PortTaken(RuntimeError):
    """Another program listens there."""


class PlayProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol; the app may cut the connection where closing would wait for ever."""

    def keepalive_timeout(self) -> None:
        """Drop a client that answers no ping, at once: a plain close would wait for what it does not read."""
        log.warning("a client that answered nothing for %g s was dropped", self.config.ws_ping_timeout)
        super().keepalive_timeout()
        self.transport.abort()

    async def run_asgi(self) -> None:
        """Run the app with a small send buffer, and one more extension in its scope."""
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self.scope["extensions"][ABORT] = {"abort": self.transport.abort}
        await super().run_asgi()


class Server(uvicorn.Server):
    """Calls `on_listening` once requests are answered."""

    def __init__(self, config: uvicorn.Config, on_listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_listening = on_listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        if self.started:
            self._on_listening()


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to an address. Raises PortTaken or OSError, both with one sentence."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio switches Nagle's delay off (40 ms on every second message) only where the protocol is named.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # Windows would let two programs share the port with REUSEADDR; elsewhere it only skips a wait after a restart.
    option = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)
    bound.setsockopt(socket.SOL_SOCKET, option, 1)
    try:
        bound.bind((host.strip("[]"), port))
        bound.listen(128)
    except OSError as error:
        bound.close()
        if error.errno in (errno.EADDRINUSE, errno.EACCES) and port:
            reason = "in use" if error.errno == errno.EADDRINUSE else "not allowed for this user"
            raise PortTaken(f"port {port} on {host} is {reason}: choose another with --port, or 0 for any") from error
        raise OSError(f"cannot listen on {host} port {port}: {error.strerror or error}; check --host") from error
    return bound


def make_server(app: FastAPI, on_listening: Callable[[], None]) -> Server:
    """A server for the app, to be run on a socket of `bind`."""
    config = uvicorn.Config(
        app,
        ws=PlayProtocol,
        loop="asyncio",  # the same on every machine, whatever else is installed
        http="h11",
        ws_max_size=MAX_FRAME_BYTES,
        ws_ping_interval=20,
        ws_ping_timeout=20,
        ws_per_message_deflate=False,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=3,
    )
    return Server(config, on_listening)
