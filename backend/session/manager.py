"""The session manager: begins, finds, moves and ends sessions."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import math
from collections import deque
from functools import partial

import torch

from backend.engine.engine import EngineStopped
from backend.engine.history import Beginning, History
from backend.engine.rollout import SessionRollout
from backend.media.encoder_thread import EncoderThread
from backend.session.admission import AdmissionQueue, Notify
from backend.session.context import Context
from backend.session.inputs import Inputs
from backend.session.replay import Replay
from backend.session.session import Session
from backend.session.timeouts import LEFT_SECONDS, LOST_SECONDS, Timeouts
from backend.session.transfer import SessionCopy
from backend.settings import Settings
from backend.wire import client_messages, server_messages
from flashdreams.camera.camera_path import CameraPath
from flashdreams.infra.memory.plan import available_bytes, return_free_pages
from flashdreams.infra.world.base import World, WorldConfig

MAX_AUTOMATIC_CAPACITY = 4
"""Most sessions without a setting: active sessions share the model's time."""
MEMORY_SHARE = 0.5
"""Share of the free memory that sessions may take."""
FREE_MEMORY_GUESS = 2 * 1024**3
"""Bytes assumed if the system does not report them."""
ROUND_SECONDS = 0.25
"""Seconds between two checks of the sessions, and between two reports of loading."""
ROUNDS_TO_TRIM = 20
"""Such rounds between two returns of free memory, 5 s: up to 60 MiB would stay after uploads and visits."""
AFTER_SECONDS = 120.0
"""Seconds for which an ended session can still be exported; as many sessions as there are places."""
log = logging.getLogger(__name__)


class SessionManager:
    """Keeps as many sessions as there is room for. Lives on the event loop."""

    def __init__(self, context: Context) -> None:
        self._context, self._engine, self._settings = context, context.engine, context.settings
        self._free, self._weighed = free_memory(), False
        self.session_bytes = context.config.rollout_bytes
        """Bytes of one session's caches: the world's figure, or the measured one once a session has run."""
        self.timeouts = Timeouts(self._settings)
        self._sessions: dict[str, Session] = {}
        self._adopting = asyncio.Lock()
        self.queue = AdmissionQueue(self._compute_capacity(), lambda: len(self._sessions), self._seconds_until_place)
        self._recently_ended: deque[tuple[float, Session]] = deque()
        self.draining = False
        """True once the server takes no new visits and waits for its sessions to end."""
        self._register_gauges()

    def _register_gauges(self) -> None:
        follow = self._context.metrics.register_gauge
        follow("sessions", "Sessions alive", lambda: self.taken)
        follow("capacity", "Sessions there is room for", lambda: self.capacity)
        follow("queue", "Visitors waiting for a place", lambda: self.waiting)
        follow("spectators", "Visitors who watch", lambda: sum(s.viewers.watchers for s in self.sessions))
        follow("state_bytes", "Memory of states to go back to", lambda: sum(s.history.bytes for s in self.sessions))
        follow(
            "recording_bytes",
            "Memory of recorded video",
            lambda: sum(s.exports.recording.bytes for s in self.sessions),
        )
        follow("lag", "Time that recent chunks took over the time that they play", lambda: self._context.lag.value)
        follow("session_bytes", "Memory of one session's caches", lambda: self.session_bytes)

    @property
    def taken(self) -> int:
        """Places taken."""
        return self.queue.taken

    @property
    def capacity(self) -> int:
        """Number of places."""
        return self.queue.capacity

    @property
    def waiting(self) -> int:
        """Visitors in the queue."""
        return self.queue.waiting

    @property
    def sessions(self) -> list[Session]:
        """Sessions that are alive."""
        return list(self._sessions.values())

    def recent_sessions(self) -> list[Session]:
        """Return the sessions that are alive, and those that ended recently and can still be exported."""
        since = self._context.clock() - AFTER_SECONDS
        while self._recently_ended and (
            len(self._recently_ended) > self.capacity or self._recently_ended[0][0] < since
        ):
            self._recently_ended.popleft()
        return [*self.sessions, *(session for _, session in self._recently_ended)]

    def _compute_capacity(self) -> int:
        measured = automatic_capacity(self._context.config, self._settings, self.session_bytes, self._free)
        return self._settings.capacity or measured

    async def begin(self, start: client_messages.StartMessage, notify: Notify) -> Session:
        """Begin a session once there is a place and the model is loaded; `notify` gets progress messages.

        May be cancelled at any point. Raises ProtocolError.
        """
        await self.queue.acquire(notify)
        try:
            await self._loaded(notify)
            session = await self._new_session(start, notify)
            self._sessions[session.token] = session
        finally:
            self.queue.release()
        self._context.metrics.began()
        return session

    async def freeze(self, token: str) -> bytes:
        """Return the state of a session, which stands still from now on; `thaw` or `release` must follow.

        Raises LookupError for a session that is not here or cannot be moved now.
        """
        return (await self._by_token(token).mover.freeze()).to_bytes()

    async def copies(self, since: float) -> dict[str, bytes]:
        """Return by token the states of the sessions with chunks newer than `since` (monotonic), without video.

        Sessions that cannot be copied now are left out.
        """
        found: dict[str, bytes] = {}
        for session in self.sessions:
            if session.last_generated >= since:
                with contextlib.suppress(LookupError, client_messages.ProtocolError, EngineStopped):
                    found[session.token] = await asyncio.to_thread((await session.mover.copy(recording=False)).to_bytes)
        return found

    def thaw(self, token: str) -> None:
        """Let a frozen session go on here."""
        self._by_token(token).mover.unfreeze()

    def release(self, token: str, server: str | None = None) -> None:
        """End a session that goes on at another server, named `server`; its page connects again."""
        session = self._by_token(token)
        session.moved_to = server
        session.end("moved")

    def discard(self, token: str) -> None:
        """End a session that was adopted and must not stay, as if it had never been here; its page connects again."""
        session = self._by_token(token)
        session.end("moved")
        self._recently_ended = deque(one for one in self._recently_ended if one[1] is not session)

    async def adopt(self, data: bytes) -> str:
        """Continue a session of another server, and return its token. Its page is expected within the grace time.

        A session that is here already goes on as it is: two front doors may ask for the same one.
        Raises RuntimeError if no place is free, ValueError for the state of another model.
        """
        state = SessionCopy.from_bytes(data)
        await asyncio.wrap_future(self._engine.world)
        fingerprint = await asyncio.to_thread(lambda: self._context.fingerprint)
        if (state.world, state.fingerprint) != (self._context.config.slug, fingerprint):
            raise ValueError(f"session {state.id} is of world {state.world} with another model or precision")
        async with self._adopting:
            if state.token in self._sessions:
                return state.token
            if not self.queue.reserve():
                raise RuntimeError(f"no place is free for session {state.id}")
            try:
                session = await self._restored(state)
                self._sessions[session.token] = session
            finally:
                self.queue.release()
        self._context.metrics.began()
        return session.token

    async def _restored(self, state: SessionCopy) -> Session:
        context, config = self._context, self._context.config
        for name, picture in state.pictures.items():
            await asyncio.to_thread(context.image_store.keep, name, picture)
        restoring = self._engine.submit(
            lambda world: SessionRollout.restored(
                world,
                state.rollout,
                _new_history(context),
                every=context.settings.rewind_every,
                image=context.image_store.file,
                clock=context.clock,
            ),
            deadline=self._context.clock(),
        )
        rollout = await asyncio.wrap_future(restoring)
        encoder = await asyncio.to_thread(EncoderThread, config.width, config.height, config.fps)
        return self._shared(
            Session(context, rollout, encoder, state.beginning, None, self._forget, copy=state), rollout, keeps=True
        )

    def _by_token(self, token: str) -> Session:
        session = self._sessions.get(token)
        if session is None:
            raise LookupError("that session is not on this server")
        return session

    def find(self, token: str, seq: int) -> Session:
        """Return the session of a resume token. Raises ProtocolError if there is none."""
        session = self._sessions.get(token)
        if session is None:
            raise client_messages.ProtocolError(
                "session_gone", "that session has ended: send start without a token", seq
            )
        return session

    def find_watched(self, token: str, seq: int) -> Session:
        """Return the session of a watch token. Raises ProtocolError if there is none."""
        session = next((one for one in self.sessions if one.watch_token == token), None)
        if session is None:
            raise client_messages.ProtocolError("unknown_watch", "watch: that session has ended, or never was", seq)
        return session

    async def maintenance_loop(self) -> None:
        """Run `maintain` four times a second until cancelled, and return free memory every few seconds."""
        for number in itertools.count(1):
            await asyncio.sleep(ROUND_SECONDS)
            self.maintain()
            if number % ROUNDS_TO_TRIM == 0:
                await asyncio.to_thread(return_free_pages)

    def maintain(self) -> None:
        """End sessions that are abandoned or idle, and update the capacity from the memory that is measured."""
        now = self._context.clock()
        self.recent_sessions()  # drops those that ended too long ago
        if self._engine.loaded and not self._weighed and not self._sessions:
            # The weights are in memory by now.
            self._free, self._weighed = free_memory(), True
            self.queue.capacity = self._compute_capacity()
        for session in self.sessions:
            # A page that was closed, or does not come back, keeps no place that somebody waits for.
            bound = math.inf if not self.waiting else LEFT_SECONDS if session.left else LOST_SECONDS
            grace = min(self._settings.grace, bound)
            if (reason := self.timeouts.check(session, now, grace)) is not None:
                session.end(reason)
            elif session.history.state_size > self.session_bytes:
                self.session_bytes = session.history.state_size
                self.queue.capacity = self._compute_capacity()

    def close(self) -> None:
        """End all sessions, since the server shuts down."""
        for session in self.sessions:
            session.end("shutdown")

    def _seconds_until_place(self, position: int) -> float | None:
        return self.timeouts.seconds_until_place(
            position, self.sessions, self._context.clock(), beginning=self.queue.starting
        )

    async def _loaded(self, notify: Notify) -> None:
        told = None
        world = asyncio.wrap_future(self._engine.world)
        world.add_done_callback(lambda done: done.cancelled() or done.exception())  # a failure is reported below
        while not self._engine.world.done():
            stage = self._engine.stage
            if stage != told:
                notify(server_messages.LoadingMessage(stage=stage.name, fraction=stage.fraction))
                told = stage
            # Unlike wait_for this leaves the load alone when the visitor goes.
            await asyncio.wait([world], timeout=ROUND_SECONDS)
        if (failure := self._engine.failure) is not None:
            raise client_messages.ProtocolError(
                "world_failed", f"the world could not be loaded: {_describe(failure)}"
            ) from failure

    async def _new_session(self, start: client_messages.StartMessage, notify: Notify) -> Session:
        config = self._context.config
        try:
            beginning, replay = await asyncio.to_thread(self._context.rollout_start, start)
            await self._context.prepare(beginning, notify)
            begun = self._engine.submit(
                partial(_start_rollout, beginning, replay, self._context), deadline=self._context.clock()
            )
            rollout = await asyncio.wrap_future(begun)
            if start.pose is not None:
                pose = Inputs.checked_poses([start.pose], "start.pose", start.seq)
                rollout.input_state.start_path(beginning.scene, CameraPath(pose, config.fps))
            encoder = await asyncio.to_thread(EncoderThread, config.width, config.height, config.fps)
        except client_messages.ProtocolError:
            raise
        except EngineStopped as error:
            raise client_messages.ProtocolError("world_failed", str(error), start.seq) from None
        except Exception as error:
            log.error("a session could not begin", exc_info=error)
            raise client_messages.ProtocolError(
                "session_failed", f"the session could not begin: {_describe(error)}", start.seq
            ) from error
        session = Session(self._context, rollout, encoder, beginning, replay, self._forget, stepwise=start.stepwise)
        # Whoever steps wants chunks that depend on the steps alone.
        return session if start.stepwise else self._shared(session, rollout)

    def _shared(self, session: Session, rollout: SessionRollout, *, keeps: bool = False) -> Session:
        """Return the session, as a visitor of the world that it shares with others of the same beginning."""
        if (worlds := self._context.shared_worlds) is not None:
            wake = partial(asyncio.get_running_loop().call_soon_threadsafe, session.refresh)
            rollout.share(worlds.visit(wake, keeps=keeps))
        return session

    def _forget(self, session: Session, reason: str) -> None:
        with contextlib.suppress(KeyError):
            del self._sessions[session.token]
        now = self._context.clock()
        self._recently_ended.append((now, session))
        self.timeouts.ended(session, now)
        self._context.metrics.ended(reason)
        self.queue.advance()


def automatic_capacity(config: WorldConfig, settings: Settings, session_bytes: int, free: int) -> int:
    """Return the number of sessions that fit into a share of the free bytes with all they may keep; at least 1."""
    kept = (settings.rewind_mib + settings.recording_mib) * 2**20
    return max(1, min(MAX_AUTOMATIC_CAPACITY, int(free * MEMORY_SHARE) // max(1, session_bytes + kept)))


def free_memory() -> int:
    """Return the free bytes of the device that sessions live on, or a low estimate if they are unknown."""
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    known = [available_bytes(torch.device(device)) for device in devices]
    return min((room for room in known if room is not None), default=FREE_MEMORY_GUESS)


def _start_rollout(beginning: Beginning, replay: Replay | None, context: Context, world: World) -> SessionRollout:
    script = None if replay is None else replay.script(world.config)
    every, image = context.settings.rewind_every, context.image_store.file
    return SessionRollout(
        world, beginning, _new_history(context), every=every, image=image, script=script, clock=context.clock
    )


def _new_history(context: Context) -> History:
    config, settings = context.config, context.settings
    chunks_per_minute = 60 * config.fps / config.frames_per_chunk
    return History(
        span=round(settings.rewind_minutes * chunks_per_minute),
        max_bytes=settings.rewind_mib * 2**20,
        max_chunks=round(settings.save_minutes * chunks_per_minute),
    )


def _describe(error: BaseException) -> str:
    """Return an error's text for visitors, without the file names in errors of the operating system."""
    return f"{type(error).__name__}, see the server's log" if isinstance(error, OSError) else str(error)[:300]
