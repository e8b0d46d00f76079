"""A session: one visitor's dream, when it moves, when it sleeps, and what happens to it on every message."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Literal

from backend.engine.engine import EngineStopped, Urgency
from backend.engine.history import Beginning, History
from backend.engine.rollout import Dream, Dreamed
from backend.media.encoder_thread import VideoStream
from backend.session.broadcast import Showing
from backend.session.commands import Turns
from backend.session.context import Services
from backend.session.inputs import Steering
from backend.session.pacing import Allowance, Pacer
from backend.session.replay import Replaying
from backend.session.viewers import Client, Viewer
from backend.session.world_info import check_scene, ready_message
from backend.wire import client_messages, server_messages
from flashdreams.infra.world.base import NotFinite

CREDITS = 2
"""Chunks that may be on their way to the screen: without word from the page nothing more is dreamed."""

HURRY_SECONDS = 1.0
"""An answer to a key goes before chunks that are late by less than this: each visitor's share bounds how often."""

EndReason = Literal["idle", "time", "failed", "taken_over", "shutdown"]
log = logging.getLogger(__name__)


class Session:
    """All methods run on the event loop unless they say otherwise."""

    def __init__(
        self,
        services: Services,
        dream: Dream,
        stream: VideoStream,
        beginning: Beginning,
        replaying: Replaying | None,
        on_end: Callable[[Session, EndReason], None],
        *,
        stepwise: bool = False,
    ) -> None:
        """Args: the dream as it begins, and what it replays; `on_end` is called once; `stepwise`: it moves by steps."""
        self.id = secrets.token_hex(4)
        self.token = secrets.token_urlsafe(24)
        self.watch_token = secrets.token_urlsafe(12)
        self.born = self.last_input = time.monotonic()
        self.detached_since: float | None = self.born
        self.left = False
        """Whether its page was closed or reloaded, so that nobody is likely to come back."""
        self._services, self._config = services, services.config
        self._dream, self._on_end = dream, on_end
        self._pacer = Pacer(self._config.fps)
        self._guard = services.guard()
        self._allowance = Allowance(services.settings.session_fps)
        self._showing = Showing(
            services,
            stream,
            dream.history,
            hashed=lambda node: self._turns.hashed(node),
            delivered=self._pacer.encoded,
            failed=self.fail,
        )
        self.audience, self.keepsakes = self._showing.audience, self._showing.keepsakes
        self._steering = Steering(self._config, services.paths, dream.pilot, stepwise=stepwise)
        self._turns: Turns = Turns(
            services,
            dream,
            self._steering,
            self.audience,
            beginning=beginning,
            replaying=replaying,
            owner=self.id,
            begun=self._begun,
        )
        self._newest = self._shown = -1
        self._stepping: Future[tuple[Dreamed, bool, Viewer | None]] | None = None
        self._paused = False
        self._announced: str | None = None
        self._wake = asyncio.Event()
        self._ended = False
        self._task = asyncio.create_task(self._run(), name=f"session-{self.id}")

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return not self._ended

    @property
    def history(self) -> History:
        """What was dreamed, and what can be gone back to."""
        return self._dream.history

    # -- connections ---------------------------------------------------------------------------------------------

    def attach(self, client: Client) -> None:
        """Show the session on a connection from now on; whoever had it before is told and closed."""
        self._must_live()
        before = self.audience.player
        if before is not None and before.client is not client:
            before.client.send(server_messages.Ended(reason="taken_over"))
            before.client.close(1000, "taken over")
        if before is None and self._newest >= 0 and self.detached_since is not None:
            log.info("session %s is back after %.1f s", self.id, time.monotonic() - self.detached_since)
        self.detached_since = None
        self.last_input = time.monotonic()
        self._steering.forget()
        self._announced = None
        # A page that wants to pause says so again: it may have resumed while it could not be heard.
        self._paused = False
        # The repeated chunk is on its way to the screen like any other.
        self._shown = self._newest if self._showing.last is None else self._showing.last.index - 1
        self._showing.seat(client, self._ready(client))
        if replaying := self._turns.replaying:
            client.send(replaying.message("playing"))
        self._wake.set()

    def detach(self, client: Client, *, left: bool = False) -> None:
        """A connection is gone. Without its player everything stays warm, and nothing is dreamed.

        Args: `left`: the page was closed, no line broke.
        """
        if self._showing.unseat(client):
            self.left = left
            gone = "its page was closed or loaded again" if left else "it lost its connection"
            log.info("session %s: %s", self.id, gone)
            self.detached_since = time.monotonic()
            self._dream.pilot.release()

    def watch(self, client: Client) -> None:
        """Show the session to one more connection, which changes nothing in it. Raises ProtocolError."""
        self._must_live()
        if self.audience.viewer_of(client) is None:
            self.detach(client)
        self._showing.admit(client, self._ready(client, spectator=True))
        client.send(server_messages.State(state=self._state))

    def handle_watcher(self, client: Client, message: client_messages.AnyClientMessage) -> None:
        """Follow a watcher's message. Raises ProtocolError for one that would change anything."""
        self._showing.handle_watcher(client, message)

    def _must_live(self) -> None:
        if self._ended:
            raise client_messages.ProtocolError(
                "session_gone", "that session has just ended: send start without a token"
            )

    def _ready(self, client: Client, *, spectator: bool = False) -> server_messages.Ready:
        return ready_message(
            self._config,
            self._services.settings,
            session=self.id,
            token="" if spectator else self.token,
            watch=self.watch_token,
            spectator=spectator,
            player=client.player,
            seed=self._dream.seed,
            scene=self._dream.pilot.scene,
            resumed=self._showing.last is not None,
            index=self._newest + 1,
            history=None if spectator else self._dream.history.summary(),
            replay=self._turns.replaying and self._turns.replaying.name,
        )

    # -- what the visitor does -----------------------------------------------------------------------------------

    async def handle(self, message: client_messages.AnyClientMessage) -> None:
        """Follow a message. Raises ProtocolError and changes nothing where it cannot be followed."""
        match message:
            case client_messages.Shown():
                self._note_shown(message)
                return
            case client_messages.Ping():
                self.audience.tell(server_messages.Pong(seq=message.seq, time=self._showing.clock))
                return
            case client_messages.Pause() | client_messages.Resume():
                self._paused = isinstance(message, client_messages.Pause)
                self._showing.rest()
                if not self._paused:
                    self._showing.want_key_frame()
            case client_messages.Reset() | client_messages.Rewind() | client_messages.Start() | client_messages.Step():
                self._check(message)
                await self._turns.ask(message)
            case _:
                if await self._steering.follow(message):
                    self._showing.want_key_frame()
                self._turns.take_over()
                if self._stepping is not None and self._steering.eager_seq is not None:
                    # A chunk that still waits for the engine reads the message when it begins: it is the answer.
                    self._services.engine.hurry(self._stepping, time.monotonic() - HURRY_SECONDS)
        self.last_input = time.monotonic()
        self._wake.set()

    def _check(
        self, message: client_messages.Reset | client_messages.Rewind | client_messages.Start | client_messages.Step
    ) -> None:
        if isinstance(message, client_messages.Reset) and message.scene is not None:
            check_scene(self._config, message.scene, message.seq)
        newest = self.history.newest
        if isinstance(message, client_messages.Rewind) and message.chunk > newest:
            raise client_messages.ProtocolError(
                "bad_chunk", f"rewind: chunk {message.chunk} is not dreamed yet, the newest is {newest}", message.seq
            )

    def _note_shown(self, message: client_messages.Shown) -> None:
        # Asked of the history: a chunk may be on the screen before the engine is through with its step.
        if message.chunk > (newest := self.history.newest):
            raise client_messages.ProtocolError(
                "bad_chunk", f"shown: chunk {message.chunk} was never sent, the newest is {newest}", message.seq
            )
        self._shown = max(self._shown, message.chunk)
        self._showing.shown(message.chunk)
        self._wake.set()

    def _begun(self, anew: bool) -> None:
        """A new rollout has begun, on the player's `start` or on `reset`."""
        self._paused = False
        self._showing.want_key_frame()
        if anew:
            self._showing.last = None
            if self.audience.player is not None:
                self.attach(self.audience.player.client)

    # -- the loop ------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while True:
                await self._until_due()
                if self._turns.waiting:
                    await self._turns.take()
                else:
                    await self._dream_chunk()
        except Exception as error:
            self.fail(error)

    async def _until_due(self) -> None:
        while True:
            self._wake.clear()
            self._announce()
            due = self._due()
            wait = None if due is None else due - time.monotonic()
            if wait is not None and wait <= 0:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), wait)

    def _due(self) -> float | None:
        """When the next thing is to be done, `time.monotonic()`; None: not before something happens."""
        if self._turns.waiting:
            return 0.0
        if self.audience.player is None or self._paused or self._newest - self._shown >= CREDITS:
            return None
        if not self._lively:
            return None
        due = 0.0 if self._steering.eager_seq is not None else self._pacer.begin_at()
        return max(due, self._allowance.not_before)

    @property
    def _lively(self) -> bool:
        return self._steering.lively or self._turns.scripted

    @property
    def _state(self) -> Literal["live", "idle", "paused"]:
        return "paused" if self._paused else "live" if self._lively else "idle"

    def _announce(self) -> None:
        state = self._state
        if self.audience.player is not None and state != self._announced:
            self._announced = state
            self.audience.tell(server_messages.State(state=state))
            self.audience.tell_watchers(server_messages.State(state=state))

    async def _dream_chunk(self) -> None:
        asked = time.monotonic()
        hurried = self._steering.eager_seq is not None
        deadline = asked - HURRY_SECONDS if hurried else self._pacer.played_out
        stepping = self._services.engine.submit(lambda _world: self._step(asked), deadline=deadline, owner=self.id)
        self._stepping = stepping
        try:
            dreamed, eager, viewer = await asyncio.wrap_future(stepping)
        except NotFinite as error:
            if self._guard is None:
                raise
            self._turns.begin_again(str(error), self._wake.set)
            return
        finally:
            self._stepping = None
        self._steering.dreamed(dreamed.shaping.seq, arrived=viewer is self.audience.player)
        self._newest = dreamed.index
        self._turns.tell_replay(dreamed)
        self._turns.tell_changes()
        self._allowance.spent(len(dreamed.frames), dreamed.shaping.at)
        self._pacer.dreamed(
            began=dreamed.shaping.at, finished=dreamed.finished, frames=len(dreamed.frames), eager=eager
        )

    def _step(self, asked: float) -> tuple[Dreamed, bool, Viewer | None]:
        """On the engine's thread: the frames leave for the encoder before the caches are brought up to date.

        Returns the chunk, whether it is eager, and whom it went to.
        """
        begun = time.monotonic()
        dreamed = self._dream.step()
        dreamed.timings["queue"] = (begun - asked) * 1e3
        eager, viewer = self._steering.answers(dreamed.shaping.seq), self.audience.player
        self._turns.note(dreamed)
        self._showing.dreamed(dreamed, eager=eager)
        if self._guard is not None and self._guard.note(dreamed.node.scene, dreamed.frames, dreamed.finished):
            self._showing.soon(self._turns.begin_again, self._guard.reason, self._wake.set)
        later = time.monotonic() + self._config.frames_per_chunk / self._config.fps
        finalized = self._services.engine.submit(
            lambda _world: self._dream.finalize(), deadline=later, urgency=Urgency.UPKEEP, owner=self.id
        )
        finalized.add_done_callback(self._finalized)
        return dreamed, eager, viewer

    def _finalized(self, result: Future[None]) -> None:
        """On the engine's thread."""
        if result.cancelled():
            return
        if (error := result.exception()) is not None:
            self._showing.soon(self.fail, error)
        else:
            self._showing.soon(self._turns.tell_changes)

    # -- the end -------------------------------------------------------------------------------------------------

    def warn(self, what: Literal["minutes", "idle"], seconds: float) -> None:
        """The session ends for a limit in so many seconds."""
        self.audience.tell(server_messages.Limit(what=what, seconds=seconds))

    def fail(self, error: BaseException) -> None:
        """End the session for what went wrong in it: its visitor gets a sentence, nobody else notices."""
        if self._ended:
            return
        log.error("session %s failed", self.id, exc_info=error)
        sentence = f"this dream had to end ({type(error).__name__}: {str(error)[:300]}); start a new one"
        self.audience.tell(server_messages.Error(code="session_failed", message=sentence))
        self.end("failed")

    def end(self, reason: EndReason) -> None:
        """End the session: its visitor is told, its place is free."""
        if self._ended:
            return
        self._ended = True
        self._task.cancel()
        self.audience.tell(server_messages.Ended(reason=reason))
        self._showing.close(reason)
        self._dream.history.forget_states()
        with contextlib.suppress(EngineStopped):
            self._services.engine.submit(
                lambda _world: self._dream.let_go(), deadline=time.monotonic(), urgency=Urgency.UPKEEP
            )
        self._services.engine.forget(self.id)
        self._on_end(self, reason)
