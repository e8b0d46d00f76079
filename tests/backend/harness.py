"""The real app on a loopback port, and a visitor who speaks its protocol."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from backend.server.app import create_app
from backend.server.http_server import bind, make_server
from backend.session.session import Session
from backend.session.state import Wait
from backend.settings import Settings
from flashdreams.infra.world.base import WorldConfig
from tests.backend.fakes import FakeWorld, fake_config

PAGE = Path(__file__).parent / "page"
PATIENCE = 60.0
"""Seconds after which a message is given up; far more than any takes, on a machine that stalls too."""


class MovableClock:
    """Monotonic time that a test moves forward, instead of waiting."""

    def __init__(self) -> None:
        self._offset = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self._offset

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass at once."""
        self._offset += seconds


class Running:
    """A server that runs in a thread, by a clock of its own."""

    def __init__(self, config: WorldConfig, settings: Settings, page: Path = PAGE) -> None:
        self.clock = MovableClock()
        self.app = create_app(config, settings, page, clock=self.clock)
        self._socket = bind(settings.host, 0)
        self.port = self._socket.getsockname()[1]
        listening = threading.Event()
        self._server = make_server(self.app, listening.set, settings)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)
        self._thread.start()
        assert listening.wait(PATIENCE)

    @property
    def world(self) -> FakeWorld:
        """The world once it is loaded."""
        world = self.app.state.engine.world.result(PATIENCE)
        assert isinstance(world, FakeWorld)
        return world

    @property
    def steps(self) -> int:
        """Chunks that the world has dreamed, for anybody."""
        return sum(call == "step" for call, _ in self.world.calls)

    @property
    def sessions(self) -> list[Session]:
        """The sessions that are alive."""
        sessions: list[Session] = self.app.state.manager.sessions
        return sessions

    def on_loop(self, call: Callable[[], None]) -> None:
        """Run something on the server's event loop, and wait for it."""

        async def run() -> None:
            call()

        asyncio.run_coroutine_threadsafe(run(), self.app.state.loop).result(PATIENCE)

    def wait_for(self, what: str, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds; fails with `what` after PATIENCE seconds."""
        until = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < until, f"waited in vain for {what}"
            time.sleep(0.01)

    def session(self, name: str) -> Session:
        """The living session of an id."""
        (found,) = (one for one in self.sessions if one.id == name)
        return found

    def newest(self, session: str) -> int:
        """Index of the newest chunk that a living session has dreamed, sent or not."""
        return self.session(session).history.newest

    def configure(self, **options: Any) -> None:
        """Change uvicorn's settings for the connections to come."""
        for name, value in options.items():
            assert hasattr(self._server.config, name)
            setattr(self._server.config, name, value)

    def visit(self, **options: Any) -> Visitor:
        """A new connection."""
        return Visitor(connect(f"ws://127.0.0.1:{self.port}/ws/play", **options).__enter__(), self)

    def get(self, path: str, **options: Any) -> httpx.Response:
        """An HTTP answer."""
        return self._request("GET", path, **options)

    def post(self, path: str, content: bytes, **options: Any) -> httpx.Response:
        """The answer to an upload."""
        return self._request("POST", path, content=content, **options)

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        # Nothing is encrypted on a loopback port, and reading all certificates would take 25 ms for each request.
        asked = {"timeout": PATIENCE, "trust_env": False, "verify": False, **options}
        return httpx.request(method, f"http://127.0.0.1:{self.port}{path}", **asked)

    def begin_stop(self) -> None:
        """Shut down without waiting for it."""
        self._server.should_exit = True

    def stop(self) -> None:
        """Shut down and wait for it."""
        self.begin_stop()
        self._thread.join(PATIENCE)
        self._socket.close()


@contextmanager
def running(config: WorldConfig | None = None, *, page: Path = PAGE, **settings: Any) -> Iterator[Running]:
    """The app with the fake world on a free port."""
    server = Running(config or fake_config(), Settings(**{"world": "fake", "capacity": 4, **settings}), page)
    try:
        yield server
    finally:
        server.stop()


def stands_still(session: Session) -> bool:
    """Return True if a session would generate nothing by itself, were it left alone for an hour."""
    state = session._state
    if state.has_command or state._steps or session._generating is not None:
        return False
    moving, scripted = session.rollout.input_state.moving, session._commands.scripted
    return state.next_action(session._clock() + 3600, moving=moving, scripted=scripted) == Wait(None)


class Visitor:
    """One socket. Shows every chunk it receives to the server, like the page does, unless told otherwise."""

    def __init__(self, socket: ClientConnection, server: Running | None = None) -> None:
        self.socket, self.server = socket, server
        self.seq = 0
        self.acknowledges = True
        self.ready: dict[str, Any] = {}
        self.chunks: list[dict[str, Any]] = []
        self.media: list[bytes] = []
        self.others: list[dict[str, Any]] = []

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, kind: str, **fields: Any) -> int:
        """Send a message; returns its seq."""
        self.seq += 1
        self.socket.send(json.dumps({"type": kind, "seq": self.seq, **fields}))
        return self.seq

    def start(self, **fields: Any) -> dict[str, Any]:
        """Start, with seed 0 if not told otherwise, and wait for `ready` and the init segment."""
        self.send("start", **{"seed": 0, **fields})
        return self.wait("ready")

    def receive(self, timeout: float = PATIENCE) -> dict[str, Any]:
        """The next message, with its binary part where it has one. Raises TimeoutError."""
        message: dict[str, Any] = json.loads(self.socket.recv(timeout))
        if message["type"] in ("ready", "chunk"):
            media = self.socket.recv(PATIENCE)  # it is on its way: given up for, it would be taken for the next message
            assert isinstance(media, bytes)
            self.media.append(media)
        if message["type"] == "ready":
            self.ready = message
        if message["type"] == "chunk":
            self.chunks.append(message)
            if self.acknowledges:
                with suppress(ConnectionClosed):  # what was on its way when the server closed is still read
                    self.send("shown", chunk=message["index"])
        else:
            self.others.append(message)
        return message

    def wait(self, kind: str, timeout: float = PATIENCE) -> dict[str, Any]:
        """The next message of a type, skipping others."""
        until = time.monotonic() + timeout
        while True:
            message = self.receive(until - time.monotonic())
            if message["type"] == kind:
                return message

    def wait_state(self, state: str) -> None:
        """Until the session says that it is in a state."""
        while self.wait("state")["state"] != state:
            pass

    def answer_to(self, seq: int) -> dict[str, Any]:
        """The first chunk that message `seq` shaped."""
        while True:
            chunk = self.wait("chunk")
            if chunk["seq"] >= seq:
                return chunk

    def refused(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Send a message that must be answered with an error, and return that."""
        seq = self.send(kind, **fields)
        error = self.wait("error")
        assert error["seq"] == seq
        return error

    def newest(self, kind: str) -> dict[str, Any]:
        """The newest message of a type that was received."""
        return next(message for message in reversed(self.others) if message["type"] == kind)

    def hold(self, key: str, chunks: int) -> None:
        """Hold a key until so many chunks have come, then come to rest."""
        wanted = len(self.chunks) + chunks
        self.send("keys", down=[key])
        while len(self.chunks) < wanted:
            self.receive()
        self.send("keys", down=[])
        self.rest()

    def rest(self) -> None:
        """Until nothing moves, and all that was dreamed is here."""
        until = time.monotonic() + PATIENCE
        while next((m["state"] for m in reversed(self.others) if m["type"] == "state"), None) != "idle":
            assert time.monotonic() < until, "it does not come to rest"
            self.receive()
        self.catch_up()

    def settle(self) -> None:
        """Until the opening is dreamed and the session sleeps."""
        self.wait_state("idle")
        self.catch_up()

    def catch_up(self) -> None:
        """Until all that was dreamed is here: chunks are still encoded when the session says that it rests."""
        assert self.server is not None
        while not self.chunks or self.chunks[-1]["index"] < self.server.newest(self.ready["session"]):
            self.receive()
        self.flush()

    def flush(self) -> list[dict[str, Any]]:
        """Return what was on its way; the server has handled all that was sent."""
        self.send("ping")
        heard = []
        while (message := self.receive())["type"] != "pong":
            heard.append(message)
        return heard

    def still(self) -> list[dict[str, Any]]:
        """Wait until nothing more comes by itself, however long one waits, and return what was on its way."""
        assert self.server is not None
        session = self.server.session(self.ready["session"])
        self.server.wait_for("a session that stands still", lambda: stands_still(session))
        return self.flush()

    def listen(self, seconds: float) -> list[dict[str, Any]]:
        """Everything that arrives within a time."""
        heard = []
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            try:
                heard.append(self.receive(left))
            except TimeoutError:
                break
        return heard
