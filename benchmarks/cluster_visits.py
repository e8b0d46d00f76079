"""Visits to a cluster: each behaves like the page, connects again by itself, and notes what happened to it."""

from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

TURN_SECONDS = 0.8
"""From one change of the held keys to the next."""
KEYS = (["w"], ["w", "a"], ["w", "d"], ["s"])
STUCK_SECONDS = 15.0
"""Without a new chunk, while connected to a session and with a key held."""
BACKOFF_SECONDS = (0.2, 0.5, 1.0, 2.0)
"""Waited before the first attempts to connect again; later ones wait as long as the last."""
GIVE_UP_SECONDS = 90.0
"""Without any picture, a visit counts as stuck and is over."""


@dataclass
class Visit:
    """One visitor and what happened to it."""

    seed: int
    seconds: float
    """Time that the visitor wants to play."""
    session: str = ""
    token: str = ""
    chunks: int = 0
    queued: bool = False
    connections: int = 0
    resumes: list[float] = field(default_factory=list)
    """Seconds from each loss of the connection to the next picture."""
    answers: list[float] = field(default_factory=list)
    """Milliseconds from a change of keys to the first chunk that it shaped."""
    lost: str = ""
    """Error code with which the session was given up before the visitor left."""
    wrong: int = 0
    """Connections that brought another session than the visit's own."""
    stuck: bool = False
    file: bytes = b""
    """The saved session that it was made from."""
    story: list[tuple[float, str]] = field(default_factory=list)
    """Connections and their ends, with times."""


class _Ended(Exception):
    """The visit is over: by its own wish, or by the server's."""


class Player:
    """Plays one visit against the front door at `url` (WebSocket)."""

    def __init__(self, url: str, visit: Visit) -> None:
        self._url, self._visit = url, visit
        self._random = random.Random(visit.seed)
        self._seq = 0
        self._asked: tuple[int, float] | None = None
        self._began: float | None = None
        self._last_picture = time.perf_counter()
        self._lost_at: float | None = None

    async def play(self) -> Visit:
        """Play to the end, through as many connections as it takes."""
        attempt = 0
        while True:
            try:
                # A front door that hangs must not hang the visit: the page gives up on it as well.
                async with connect(self._url, max_size=2**24, proxy=None, open_timeout=10) as socket:
                    self._visit.connections += 1
                    self._note("connected")
                    pictures = self._visit.chunks
                    try:
                        await self._connected(socket)
                    finally:
                        attempt = 0 if self._visit.chunks > pictures else attempt
            except _Ended:
                return self._visit
            except (OSError, TimeoutError, WebSocketException) as error:
                self._note(f"lost: {error}")
            if self._lost_at is None:
                self._lost_at = time.perf_counter()
            if time.perf_counter() - self._last_picture > GIVE_UP_SECONDS:
                self._visit.stuck = True
                return self._visit
            await asyncio.sleep(BACKOFF_SECONDS[min(attempt, len(BACKOFF_SECONDS) - 1)])
            attempt += 1

    def _note(self, what: str) -> None:
        self._visit.story.append((time.perf_counter(), what))

    async def _send(self, socket: ClientConnection, kind: str, **fields: object) -> int:
        self._seq += 1
        await socket.send(json.dumps({"type": kind, "seq": self._seq, **fields}))
        return self._seq

    async def _connected(self, socket: ClientConnection) -> None:
        start: dict[str, object] = {"token": self._visit.token} if self._visit.token else {"seed": self._visit.seed}
        self._seq, self._asked = 0, None
        await self._send(socket, "start", **start)
        turning: asyncio.Task[None] | None = None
        try:
            while True:
                message = await self._next(socket, playing=turning is not None)
                if message["type"] == "ready":
                    self._note_ready(message)
                    turning = asyncio.create_task(self._turn(socket))
                elif message["type"] == "chunk":
                    await self._note_chunk(socket, message)
                elif message["type"] == "queue":
                    self._visit.queued = True
                    self._last_picture = time.perf_counter()  # told to wait: not stuck
                elif message["type"] in ("error", "ended"):
                    self._visit.lost = str(message.get("code") or message.get("reason"))
                    raise _Ended
        finally:
            if turning is not None:
                turning.cancel()

    async def _next(self, socket: ClientConnection, *, playing: bool) -> dict[str, Any]:
        limit = STUCK_SECONDS if playing else GIVE_UP_SECONDS
        try:
            while isinstance(message := await asyncio.wait_for(socket.recv(), limit), bytes):
                pass
        except TimeoutError:
            self._visit.stuck = True
            raise _Ended from None
        told: dict[str, Any] = json.loads(message)
        return told

    def _note_ready(self, ready: dict[str, Any]) -> None:
        self._visit.wrong += self._visit.session not in ("", ready["session"])
        self._note("ready")
        self._visit.session, self._visit.token = ready["session"], ready["token"]

    async def _note_chunk(self, socket: ClientConnection, chunk: dict[str, Any]) -> None:
        now = self._last_picture = time.perf_counter()
        self._visit.chunks += 1
        if self._lost_at is not None:
            self._visit.resumes.append(now - self._lost_at)
            self._lost_at = None
        if self._asked is not None and chunk["seq"] >= self._asked[0]:
            self._visit.answers.append(1e3 * (now - self._asked[1]))
            self._asked = None
        await self._send(socket, "shown", chunk=chunk["index"])
        self._began = self._began or now
        if now - self._began > self._visit.seconds:
            raise _Ended

    async def _turn(self, socket: ClientConnection) -> None:
        while True:
            seq = await self._send(socket, "keys", down=self._random.choice(KEYS))
            self._asked = self._asked or (seq, time.perf_counter())
            try:
                await asyncio.sleep(TURN_SECONDS * self._random.uniform(0.5, 1.5))
            except ConnectionClosed:
                return


async def alternating_answers(doors: dict[str, tuple[str, dict[str, str]]], presses: int) -> dict[str, list[float]]:
    """Return milliseconds from a key to its chunk by door, one press at each door in turn, each from rest.

    `doors` has WebSocket addresses with headers, by name.
    """
    found: dict[str, list[float]] = {name: [] for name in doors}
    sockets = {
        name: await connect(url, additional_headers=headers, max_size=2**24, proxy=None)
        for name, (url, headers) in doors.items()
    }
    players = {name: _Presser(socket) for name, socket in sockets.items()}
    for player in players.values():
        await player.start()
    for number in range(presses + 2):
        for name in doors if number % 2 else reversed(doors):
            milliseconds = await players[name].press()
            if number >= 2:  # the first ones warm up
                found[name].append(milliseconds)
    for socket in sockets.values():
        await socket.close()
    return found


class _Presser:
    """Presses a key from rest, waits for its chunk, and comes to rest again."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._seq = 0

    async def _send(self, kind: str, **fields: object) -> int:
        self._seq += 1
        await self._socket.send(json.dumps({"type": kind, "seq": self._seq, **fields}))
        return self._seq

    async def _until(self, kind: str, **fields: object) -> dict[str, Any]:
        while True:
            message = await asyncio.wait_for(self._socket.recv(), 30)
            if isinstance(message, bytes):
                continue
            told: dict[str, Any] = json.loads(message)
            if told["type"] == "chunk":
                await self._send("shown", chunk=told["index"])
            if told["type"] == kind and all(told[name] == value for name, value in fields.items()):
                return told

    async def start(self) -> None:
        """Begin a session, and wait until it rests."""
        await self._send("start", seed=1)
        await self._until("ready")
        await self._until("state", state="idle")

    async def press(self) -> float:
        """Return milliseconds from a key to the chunk that it shaped."""
        await asyncio.sleep(0.05)
        asked = time.perf_counter()
        seq = await self._send("keys", down=["d"])
        while (await self._until("chunk"))["seq"] < seq:
            pass
        took = 1e3 * (time.perf_counter() - asked)
        await self._send("keys", down=[])
        await self._until("state", state="idle")
        return took
