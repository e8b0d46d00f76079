"""The lobby: who plays, who waits for a place, and whose session is over."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import secrets
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from backend import protocol
from backend.dream import Dream
from backend.engine import Engine, EngineStopped
from backend.metrics import Metrics
from backend.paths import Paths
from backend.session import Session
from backend.settings import Settings
from flashdreams.infra.world import World, WorldConfig

MAX_AUTOMATIC_CAPACITY = 4
"""More visitors than this only by setting: one model's time is shared among those who move."""
MEMORY_SHARE = 0.5
"""Share of the free memory that sessions may take."""
FREE_MEMORY_GUESS = 2 * 1024**3
"""Taken where the system does not tell."""
LEFT_SECONDS = 1.0
"""Grace time of a session whose page was closed, while others wait: enough for a page that reconnects by itself."""
ROUND_SECONDS = 0.25
"""How often sessions are looked over and loading is reported."""

Tell = Callable[[protocol.ServerMessage], None]
log = logging.getLogger(__name__)


class Lobby:
    """Keeps as many sessions as there is room for. Lives on the event loop."""

    def __init__(self, engine: Engine, settings: Settings, paths: Paths, metrics: Metrics) -> None:
        self.capacity = settings.capacity or automatic_capacity(engine.config, settings.rewind_moments)
        self._engine, self._settings, self._paths, self._metrics = engine, settings, paths, metrics
        self._sessions: dict[str, Session] = {}
        self._beginning = 0
        self._waiting: list[asyncio.Event] = []
        metrics.follow("sessions", "Sessions alive", lambda: self.taken)
        metrics.follow("capacity", "Sessions there is room for", lambda: self.capacity)
        metrics.follow("queue", "Visitors waiting for a place", lambda: len(self._waiting))

    @property
    def taken(self) -> int:
        """Places taken."""
        return len(self._sessions) + self._beginning

    async def begin(self, start: protocol.Start, tell: Tell) -> Session:
        """A new session, as soon as there is a place and the model is loaded; `tell` gets news meanwhile.

        May be cancelled at any point. Raises ProtocolError.
        """
        await self._place(tell)
        try:
            await self._loaded(tell)
            session = await self._new_session(start)
        finally:
            self._beginning -= 1
            self._move_up()
        self._sessions[session.token] = session
        return session

    def find(self, token: str, seq: int) -> Session:
        """The session of a resume token. Raises ProtocolError for one that is over or never was."""
        session = self._sessions.get(token)
        if session is None:
            raise protocol.ProtocolError("session_gone", "that session has ended: send start without a token", seq)
        return session

    async def keep_house(self) -> None:
        """End what nobody came back to or touched for long; runs until cancelled."""
        while True:
            await asyncio.sleep(ROUND_SECONDS)
            now = time.monotonic()
            for session in list(self._sessions.values()):
                lost = session.detached_since
                limit = self._settings.idle_limit
                # Whoever closed the page keeps no place that somebody waits for.
                left = session.left and bool(self._waiting)
                if lost is not None and now - lost > min(self._settings.grace, LEFT_SECONDS if left else math.inf):
                    session.end("idle")
                elif limit and now - session.last_input > limit:
                    session.end("idle")

    def close(self) -> None:
        """The server stops: end all sessions."""
        for session in list(self._sessions.values()):
            session.end("shutdown")

    async def _place(self, tell: Tell) -> None:
        """Wait for a place and take it (`_beginning`)."""
        if self.taken < self.capacity and not self._waiting:
            self._beginning += 1
            return
        moved = asyncio.Event()
        self._waiting.append(moved)
        try:
            while self.taken >= self.capacity or self._waiting[0] is not moved:
                tell(protocol.Queue(position=self._waiting.index(moved) + 1))
                moved.clear()
                await moved.wait()
            self._beginning += 1
        finally:
            self._waiting.remove(moved)
            self._move_up()

    def _move_up(self) -> None:
        for moved in self._waiting:
            moved.set()

    async def _loaded(self, tell: Tell) -> None:
        told = None
        world = asyncio.wrap_future(self._engine.world)
        world.add_done_callback(lambda done: done.cancelled() or done.exception())  # a failure is told below
        while not self._engine.world.done():
            stage = self._engine.stage
            if stage != told:
                tell(protocol.Loading(stage=stage.name, fraction=stage.fraction))
                told = stage
            # Unlike wait_for this leaves the load alone when the visitor goes.
            await asyncio.wait([world], timeout=ROUND_SECONDS)
        if (failure := self._engine.failure) is not None:
            raise protocol.ProtocolError("world_failed", f"the world could not be loaded: {failure}") from failure

    async def _new_session(self, start: protocol.Start) -> Session:
        scene = start.scene or self._engine.config.scenes[0].name
        seed = secrets.randbits(31) if start.seed is None else start.seed
        try:
            begun = self._engine.submit(
                partial(_begin_dream, scene, seed, start.text, self._settings), deadline=time.monotonic()
            )
            dream = await asyncio.wrap_future(begun)
        except EngineStopped as error:
            raise protocol.ProtocolError("world_failed", str(error), start.seq) from None
        except Exception as error:
            log.error("a session could not begin", exc_info=error)
            raise protocol.ProtocolError("session_failed", f"the dream could not begin: {error}", start.seq) from error
        return Session(self._engine, self._paths, self._metrics, dream, self._forget)

    def _forget(self, session: Session) -> None:
        with contextlib.suppress(KeyError):
            del self._sessions[session.token]
        self._move_up()


def automatic_capacity(config: WorldConfig, moments: int) -> int:
    """How many sessions fit into the free memory, each with the moments it keeps; at least 1."""
    per_session = max(1, config.session_bytes) * (1 + moments)
    return max(1, min(MAX_AUTOMATIC_CAPACITY, int(free_memory() * MEMORY_SHARE) // per_session))


def free_memory() -> int:
    """Bytes of memory that are free, or a careful guess where the system does not tell as Linux does."""
    with contextlib.suppress(OSError, ValueError, StopIteration, IndexError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]) * 1024
    return FREE_MEMORY_GUESS


def _begin_dream(scene: str, seed: int, text: str | None, settings: Settings, world: World) -> Dream:
    return Dream(world, scene, seed, text, moments=settings.rewind_moments, every=settings.rewind_every)
