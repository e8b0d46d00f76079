"""One socket of a client: JSON with growing numbers out, messages with their media in."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_socket
from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException
from websockets.proxy import get_proxy
from websockets.uri import parse_uri

from flashdreams.client.address import is_loopback, without_password
from flashdreams.client.errors import ConnectionLost

WITH_MEDIA = frozenset({"ready", "chunk"})
OPEN_SECONDS = 10.0
LAST_WORDS_SECONDS = 0.5


@dataclass(frozen=True)
class Received:
    """A server message and the binary one behind it, empty where it has none."""

    message: dict[str, Any]
    media: bytes = b""

    @property
    def type(self) -> str:
        """Type of the message."""
        return str(self.message.get("type"))


class Connection:
    """Every failure of the line comes out as ConnectionLost."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._socket: ClientConnection | None = None
        self._seq = 0

    async def open(self) -> None:
        """Connect, in place of an earlier socket. Raises ConnectionLost; PermissionError where the server says no."""
        await self.close()
        try:
            # Nothing is held back while the caller computes: what waits is only small news.
            self._socket = await open_socket(
                self._address,
                max_size=2**26,
                max_queue=None,
                compression=None,
                open_timeout=OPEN_SECONDS,
                proxy=None if is_loopback(self._address) else True,  # no proxy reaches this very machine
            )
        except InvalidStatus as error:
            if error.response.status_code in (401, 403):
                raise PermissionError(_body(error)) from None
            raise ConnectionLost(f"the server answers {error.response.status_code}: {_body(error)}") from error
        except (OSError, InvalidHandshake, WebSocketException) as error:
            proxy = None if is_loopback(self._address) else get_proxy(parse_uri(self._address))
            through = f" through the proxy {without_password(proxy)} of the environment" if proxy else ""
            raise ConnectionLost(f"no server at {self._address.split('?')[0]}{through}: {error}") from error

    async def close(self) -> None:
        """Close as a visitor who leaves."""
        if self._socket is not None:
            await self._socket.close()
            self._socket = None

    async def send(self, kind: str, **fields: Any) -> int:
        """Send a message; returns its number. Raises ConnectionLost."""
        self._seq += 1
        text = json.dumps({"type": kind, "seq": self._seq, **fields})
        try:
            await self._open_socket.send(text)
        except (OSError, WebSocketException) as error:
            raise ConnectionLost(f"the connection was lost: {error}") from error
        return self._seq

    async def receive(self) -> Received:
        """Return the next message. Raises ConnectionLost."""
        try:
            message = json.loads(await self._open_socket.recv())
            media = await self._open_socket.recv() if message["type"] in WITH_MEDIA else b""
        except (OSError, WebSocketException) as error:
            raise ConnectionLost(f"the connection was lost: {error}") from error
        return Received(message, media if isinstance(media, bytes) else b"")

    async def last_words(self) -> list[Received]:
        """Return what had come before the line closed and was not read yet."""
        words: list[Received] = []
        try:
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                while True:
                    words.append(await self.receive())
        except (ConnectionLost, TimeoutError):
            return words

    @property
    def _open_socket(self) -> ClientConnection:
        if self._socket is None:
            raise ConnectionLost("the connection is closed")
        return self._socket


def _body(error: InvalidStatus) -> str:
    body = error.response.body
    return body.decode(errors="replace").strip()[:300] if body else "no reason given"
