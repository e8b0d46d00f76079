"""uvicorn, set up for live video: a bound socket, no compression, early limits, and a way to cut a stuck reader."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets import http11

from backend.server.connections import ABORT, Connections, connections_within, raise_file_limit
from backend.settings import Settings

MAX_FRAME_BYTES = 64 * 1024
"""Beyond this the socket is closed with 1009 unread; smaller messages over the protocol's limit are answered."""

SEND_BUFFER_BYTES = 64 * 1024
"""Of a player's socket: what waits unread is soon noticed; with 150 ms of travel it still carries 3 Mbit/s."""

REQUEST_SECONDS = 10.0
"""Time for the head of a request, from the connection's beginning or from the answer before."""
BODY_SECONDS = 60.0
"""Time for the body of a request."""
ANSWER_SECONDS = 60.0
"""Time for which a reader of an answer may take nothing."""
BACKLOG = 24
"""Connections that wait to be accepted. So many are accepted at once, before those above the limit are cut."""
MAX_HEAD_BYTES = 64 * 1024
"""Of a request's line and headers together; more is answered with 431."""
MAX_HEADERS = 256
"""Header lines of a WebSocket's handshake."""

log = logging.getLogger(__name__)


class PortTaken(RuntimeError):
    """Another program listens there."""


# Cookies of one host are shared by all its ports: a line of 8 KiB, the library's bound, is met in practice.
http11.MAX_LINE_LENGTH = max(http11.MAX_LINE_LENGTH, MAX_HEAD_BYTES)
http11.MAX_NUM_HEADERS = max(http11.MAX_NUM_HEADERS, MAX_HEADERS)


class Config(uvicorn.Config):
    """uvicorn's settings with the connections that its protocols count."""

    open_connections: Connections


class RequestProtocol(H11Protocol):
    """uvicorn's HTTP protocol with a time for everything that a client may leave unfinished."""

    config: Config
    _phase: str | None = None
    _deadline: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, or be cut where there are too many."""
        super().connection_made(transport)
        if self.config.open_connections.open(transport):
            self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self.config.open_connections.close(self.transport)
        self._stop_watching()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read, with one line in the log for what is no HTTP."""
        try:
            super().data_received(data)
        except Exception as error:  # a parser's fault ends this connection and no other
            log.warning("a request could not be read: %s", type(error).__name__)
            self.transport.abort()
            return
        self._watch()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection over to the WebSocket's protocol."""
        self.config.open_connections.heard(self.transport)
        self._stop_watching()
        self._phase = "handed over"
        super().handle_websocket_upgrade(event)

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """Begin to count the time in which the answer is not read."""
        self.flow.pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(ANSWER_SECONDS, self._expire)

    def resume_writing(self) -> None:
        """Go on writing."""
        self.flow.resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP; 431 where the head was too large."""
        too_large = len(self.conn.trailing_data[0]) > MAX_HEAD_BYTES // 2
        status, said = (431, "The request's headers are too large.\n") if too_large else (400, msg)
        headers = [("content-type", "text/plain; charset=utf-8"), ("connection", "close")]
        try:
            parts = [
                self.conn.send(h11.Response(status_code=status, headers=headers)),
                self.conn.send(h11.Data(data=said.encode())),
                self.conn.send(h11.EndOfMessage()),
            ]
        except h11.LocalProtocolError:  # an answer has begun already
            self.transport.abort()
            return
        self.transport.write(b"".join(part for part in parts if part))
        self.transport.close()

    def _watch(self) -> None:
        """Set the time for what the client has to send next."""
        if self._phase == "handed over":
            return
        state = self.conn.their_state
        phase = {h11.IDLE: "head", h11.SEND_BODY: "body"}.get(state)
        if phase != "head":
            self.config.open_connections.heard(self.transport)
        if phase == self._phase:
            return
        self._stop_watching()
        self._phase = phase
        if phase is not None:
            self._deadline = self.loop.call_later(REQUEST_SECONDS if phase == "head" else BODY_SECONDS, self._expire)

    def _stop_watching(self) -> None:
        for timer in (self._deadline, self._unread):
            if timer is not None:
                timer.cancel()
        self._deadline = self._unread = None

    def _expire(self) -> None:
        log.info("a connection that left its request or answer unfinished was cut")
        self.transport.abort()


class PlayProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol; the app may cut the connection where closing would wait for ever."""

    config: Config

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self.config.open_connections.close(self.transport)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read; a fault of the reader ends this connection with one line in the log."""
        if self.transport.is_closing():
            return
        try:
            super().data_received(data)
        except Exception as error:
            log.warning("a client's messages could not be read: %s", type(error).__name__)
            self.transport.abort()
            return
        if not self.handshake_initiated and not self.transport.is_closing():
            # Only a handshake that the parser refused leaves nothing behind; a browser waits for an answer.
            self.transport.write(b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n\r\n")
            self.transport.close()

    def send_receive_event_to_app(self) -> None:
        """Send a message to the app; close the connection with 1007 if its text is not UTF-8."""
        if self.curr_msg_data_type == "text" and not self.close_sent:
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                log.warning("a client sent text that is no UTF-8: closed with 1007")
                self.frames = []
                self.conn.send_close(1007)
                self.handle_parser_exception()
                return
        super().send_receive_event_to_app()

    async def send(self, message: Any) -> None:
        """Send; a refused handshake counts as complete once its answer is sent."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True

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
    """Calls `on_listening` once requests are answered, and ends all sessions before it closes their sockets."""

    def __init__(self, config: uvicorn.Config, on_listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_listening = on_listening
        self.before_shutdown: Callable[[], Any] | None = None
        """Awaited before sockets are closed."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let every client hear that the server ends, then close."""
        if self.before_shutdown is not None:
            await self.before_shutdown()
        await super().shutdown(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        if self.started:
            self._on_listening()


def bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Return a socket bound to an address. Raises PortTaken or OSError, both with one sentence.

    Args:
        host: name or address.
        port: 0 for any that is free.
        shared: let other processes that say the same listen there too; the system spreads connections over them.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio switches Nagle's delay off (40 ms on every second message) only where the protocol is named.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # Windows would let two programs share the port with REUSEADDR; elsewhere it only skips a wait after a restart.
    option = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)
    bound.setsockopt(socket.SOL_SOCKET, option, 1)
    if shared and hasattr(socket, "SO_REUSEPORT"):
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        bound.bind((host.strip("[]"), port))
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        if error.errno in (errno.EADDRINUSE, errno.EACCES) and port:
            reason = "in use" if error.errno == errno.EADDRINUSE else "not allowed for this user"
            raise PortTaken(f"port {port} on {host} is {reason}: choose another with --port, or 0 for any") from error
        raise OSError(f"cannot listen on {host} port {port}: {error.strerror or error}; check --host") from error
    return bound


def make_server(app: FastAPI, on_listening: Callable[[], None], settings: Settings | None = None) -> Server:
    """Return a server for the app, to be run on a socket of `bind`."""
    settings = settings or Settings()
    config = Config(
        app,
        ws=PlayProtocol,
        loop="asyncio",  # the same on every machine, whatever else is installed
        http=RequestProtocol,
        backlog=BACKLOG,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        ws_max_size=MAX_FRAME_BYTES,
        ws_ping_interval=20,
        ws_ping_timeout=20,
        ws_per_message_deflate=False,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=3,
    )
    most = connections_within(settings.max_connections, raise_file_limit())
    config.open_connections = Connections(most, settings.connections_per_address)
    server = Server(config, on_listening)
    server.before_shutdown = getattr(app.state, "before_shutdown", None)
    return server
