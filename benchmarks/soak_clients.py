"""Clients that take a place at the server and read nothing of what comes."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time

from websockets.frames import Frame, Opcode

HANDSHAKE = (
    "GET /ws/play HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
CLAIM_SECONDS = 0.4
"""Less often than chunks are dreamed: a claim of what was not sent is refused, and no chunk would come any more."""


class Unread:
    """A visitor who holds a key and never reads; with `claims` it says that every chunk is on its screen."""

    def __init__(self, port: int, *, claims: bool) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.connect(("127.0.0.1", port))
        self._socket.sendall(HANDSHAKE.format(port=port).encode())
        self._socket.recv(4096)  # the answer to the handshake; nothing is read after it
        self._seq = 0
        self._send("start")
        self._ended = threading.Event()
        threading.Thread(target=self._stay, args=(claims,), daemon=True).start()

    def close(self) -> None:
        """Go, if the server has not ended it before."""
        self._ended.set()
        self._socket.close()

    def _send(self, kind: str, **fields: object) -> None:
        self._seq += 1
        text = json.dumps({"type": kind, "seq": self._seq, **fields})
        self._socket.sendall(Frame(Opcode.TEXT, text.encode()).serialize(mask=True))

    def _stay(self, claims: bool) -> None:
        with contextlib.suppress(OSError):  # thrown out
            time.sleep(2)  # it is in by then, as nothing tells it
            self._send("keys", down=["d"])
            chunk = 0
            while claims and not self._ended.wait(CLAIM_SECONDS):
                self._send("shown", chunk=chunk)
                chunk += 1
