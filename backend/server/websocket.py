"""One socket: reads and checks messages, sends messages and video in order, and is cut if its reader stalls."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, MutableMapping
from typing import Any

from pydantic import BaseModel
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from backend.media.h264 import has_encoder
from backend.server.connections import ABORT
from backend.session.context import Context
from backend.session.manager import SessionManager
from backend.session.session import Session
from backend.wire import client_messages, server_messages
from backend.wire.client_messages import ProtocolError

MAX_OUTBOX = 256
"""Messages waiting to be sent; credits keep it near 4, so more means that the client only makes noise."""
MAX_ERRORS = 20
"""Errors within ERROR_SECONDS that end a connection."""
ERROR_SECONDS = 10.0
MALFORMED = frozenset({"too_large", "bad_json", "bad_message", "unknown_type", "bad_seq"})
"""Errors that no working client causes: only these count as abuse."""
MESSAGES_PER_SECOND, BURST = 250, 500
"""Messages that a connection may send a second, and at once after a pause; beyond them its reader waits.

A page sends one for each frame of the screen while the view is dragged.
"""
BYTES_PER_MESSAGE = 1024
"""Size from which a message counts as more than one: the work of reading it grows with its bytes."""
PATH_COST = 20
"""Messages that a `path` counts as besides: it is checked, and its file read, in a thread."""
START_SECONDS = 60.0
"""Time until a connection has to send `start`."""
ABORT_SECONDS = 1.0
"""Time for a client to answer a close for its mistakes, until it is cut."""
POLICY_VIOLATION = 1008
SERVICE_RESTART = 1012
LEAVING = frozenset({1000, 1001})
"""Codes with which a page closes that was left or reloaded, unlike a line that broke."""
LAST_WORDS_SECONDS = 1.0
"""Time that the reader has to see the close code after a send fails."""

log = logging.getLogger(__name__)


class Connection:
    """One connection from accept to close; belongs to at most one session at a time."""

    def __init__(self, socket: WebSocket, manager: SessionManager, context: Context) -> None:
        self._socket, self._manager, self._context = socket, manager, context
        self._settings, self._metrics = context.settings, context.metrics
        self.player: server_messages.PlayerName = "mse"
        """Player that shows the chunks."""
        self._session: Session | None = None
        self._joining: asyncio.Task[None] | None = None
        self._outbox: asyncio.Queue[tuple[int, str] | list[str | bytes]] = asyncio.Queue()
        self._watching = False
        self._closing = False
        self._left = False
        self._seq = -1
        self._clock = context.clock
        self._allowed, self._paced = float(BURST), self._clock()
        self._errors: deque[float] = deque(maxlen=MAX_ERRORS)

    async def serve(self) -> None:
        """Serve until either side closes."""
        await self._socket.accept()
        self._context.sockets.add(self)
        unstarted = asyncio.get_running_loop().call_later(START_SECONDS, self._close_unstarted)
        reader = asyncio.create_task(self._read())
        writer = asyncio.create_task(self._write())
        try:
            # The writer ends when a close was sent, the reader when the client is gone.
            await asyncio.wait([reader, writer], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._closing = True
            unstarted.cancel()
            self._context.sockets.discard(self)
            for task in (reader, writer, self._joining):
                if task is not None:
                    task.cancel()
            if self._session is not None:
                self._session.detach(self, left=self._left)
            for task in (reader, writer):
                with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect):
                    await task

    # -- out ---------------------------------------------------------------------------------------------------

    def send(self, message: BaseModel, media: bytes | None = None) -> None:
        """Queue a message, and a binary one right behind it."""
        if self._closing:
            return
        if self._outbox.qsize() >= MAX_OUTBOX:
            self.close(POLICY_VIOLATION, "too many messages wait to be read")
            return
        text = message.model_dump_json()
        self._outbox.put_nowait([text] if media is None else [text, media])

    def close(self, code: int, reason: str) -> None:
        """Close once everything queued has left."""
        if not self._closing:
            self._closing = True
            self._outbox.put_nowait((code, reason))

    def say_shutdown(self) -> None:
        """Tell a client that waits, or has not begun, that the server ends; sessions tell their own."""
        if self._session is None or not self._session.alive:
            self.send(server_messages.EndedMessage(reason="shutdown"))
            self.close(SERVICE_RESTART, "the server ends")

    def _close_unstarted(self) -> None:
        if self._session is None and self._joining is None:
            self.close(POLICY_VIOLATION, f"no start within {START_SECONDS:g} s")

    def _answer(self, error: ProtocolError) -> None:
        self._metrics.error(error.code)
        self.send(error.as_message())

    async def _write(self) -> None:
        try:
            while True:
                outgoing = await self._outbox.get()
                if isinstance(outgoing, tuple) and outgoing[0] == POLICY_VIOLATION:
                    asyncio.get_running_loop().call_later(ABORT_SECONDS, self._abort)
                async with asyncio.timeout(self._settings.send_timeout):
                    if isinstance(outgoing, tuple):
                        await self._socket.close(*outgoing)
                        return
                    for part in outgoing:
                        await self._send_part(part)
        except TimeoutError:
            log.warning("a reader that took nothing for %g s was dropped", self._settings.send_timeout)
            self._metrics.reader_dropped()
            self._abort()
        except (WebSocketDisconnect, RuntimeError):
            # The client is gone. Only the reader can tell a closed page from a broken line, by the close code.
            await asyncio.sleep(LAST_WORDS_SECONDS)

    async def _send_part(self, part: str | bytes) -> None:
        if isinstance(part, str):
            await self._socket.send_text(part)
        else:
            await self._socket.send_bytes(part)

    def _abort(self) -> None:
        # A plain close would wait until the full buffer is sent, which never happens.
        abort: Callable[[], None] | None = self._socket.scope.get("extensions", {}).get(ABORT, {}).get("abort")
        if abort is not None:
            abort()

    # -- in ----------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        while self._socket.client_state is WebSocketState.CONNECTED:
            try:
                received = await self._socket.receive()
            except (WebSocketDisconnect, RuntimeError):
                return
            if received["type"] == "websocket.disconnect":
                self._left = received.get("code") in LEAVING
                return
            if self._closing:
                continue  # messages after the close are not answered
            await self._pace(len(received.get("text") or received.get("bytes") or ""))
            try:
                await self._handle_frame(received)
            except ProtocolError as error:
                self._answer(error)
                if error.code in MALFORMED and self._too_many_errors():
                    self._answer(ProtocolError("abuse", f"more than {MAX_ERRORS} mistakes in {ERROR_SECONDS:g} s"))
                    self.close(POLICY_VIOLATION, "too many wrong messages")

    async def _pace(self, size: int) -> None:
        """Wait where messages come faster than the rate: the socket is not read meanwhile, and TCP slows the client."""
        now, cost = self._clock(), 1 + size / BYTES_PER_MESSAGE
        self._allowed = min(float(BURST), self._allowed + (now - self._paced) * MESSAGES_PER_SECOND) - cost
        self._paced = now
        if self._allowed < 0:
            await asyncio.sleep(-self._allowed / MESSAGES_PER_SECOND)

    def _too_many_errors(self) -> bool:
        now = self._clock()
        self._errors.append(now)
        return len(self._errors) == MAX_ERRORS and now - self._errors[0] < ERROR_SECONDS

    async def _handle_frame(self, received: MutableMapping[str, Any]) -> None:
        text = received.get("text")
        if text is None:
            raise ProtocolError("bad_message", "messages to the server are JSON text, this one was binary")
        message = client_messages.parse(text)
        if message.seq <= self._seq:
            raise ProtocolError("bad_seq", f"seq must grow: {message.seq} came after {self._seq}", message.seq)
        self._seq = message.seq
        self._allowed -= PATH_COST if message.type == "path" else 0
        if isinstance(message, client_messages.StartMessage):
            self._start(message)
        elif self._joining is not None and not self._joining.done():
            return  # input before `ready` is not for the session that is about to begin
        elif self._session is None:
            raise ProtocolError("not_started", f"{message.type}: send start first and wait for ready", message.seq)
        else:
            await self._follow(self._session, message)

    async def _follow(self, session: Session, message: client_messages.AnyClientMessage) -> None:
        try:
            if self._watching:
                await session.handle_watcher(self, message)
            else:
                await session.handle(message)
        except ProtocolError:
            raise
        except Exception as error:  # an error in a world's camera rules ends this session alone
            session.fail(error)

    def _start(self, start: client_messages.StartMessage) -> None:
        if start.token is None and start.watch is None:
            self._context.check(start)
        if self._joining is not None and not self._joining.done():
            raise ProtocolError("already_started", "start: the last start is still being answered", start.seq)
        self._joining = asyncio.create_task(self._join(start))

    async def _join(self, start: client_messages.StartMessage) -> None:
        """Bring the connection into a session; a task of its own, so that reading goes on."""
        self.player = start.player if has_encoder() else "jpeg"  # `ready` says so, and pages take that player
        try:
            if start.watch is not None:
                session = self._manager.find_watched(start.watch, start.seq)
                session.watch(self)
                self._enter(session)
                self._watching = True
            elif start.token is not None:
                session = self._manager.find(start.token, start.seq)
                session.attach(self)
                self._metrics.resumed()
                self._enter(session)
            elif self._session is not None and self._session.alive and not self._watching:
                await self._session.handle(start)
            else:
                session = await self._manager.begin(start, self.send)
                session.attach(self)
                self._enter(session)
        except ProtocolError as error:
            error.seq = start.seq
            self._answer(error)
            if error.code == "world_failed":
                self.close(1011, "the world could not be loaded")
        except Exception:
            log.exception("a visitor could not join")
            self._answer(
                ProtocolError("session_failed", "the session could not begin: see the server's log", start.seq)
            )

    def _enter(self, session: Session) -> None:
        """Join a session, and leave the previous one."""
        if self._session is not None and self._session is not session:
            self._session.detach(self)
        self._session, self._watching = session, False
        if self._closing:
            session.detach(self)
