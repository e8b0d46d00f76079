"""A session: one visitor's dream, when it moves, when it sleeps, and what happens to it on every message."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Literal

from backend import news, protocol
from backend.audience import Audience, Client, Viewer
from backend.catalog import check_scene, ready_message
from backend.dream import Dream, Dreamed
from backend.engine import Urgency
from backend.history import Beginning, History
from backend.keepsakes import Keepsakes
from backend.messages import Parcel
from backend.network import Network
from backend.pacing import Allowance, Pacer
from backend.replays import Replaying
from backend.services import Services
from backend.steering import Steering
from backend.turns import Turns
from backend.video.encoder import QUALITIES
from backend.video.stream import Encoded, VideoStream

CREDITS = 2
"""Chunks that may be on their way to the screen: without word from the page nothing more is dreamed."""

EndReason = Literal["idle", "time", "failed", "taken_over", "shutdown"]
log = logging.getLogger(__name__)


class Session:
    """All methods run on the event loop unless they say otherwise."""

    def __init__(
        self, services: Services, dream: Dream, stream: VideoStream, beginning: Beginning,
        replaying: Replaying | None, on_end: Callable[[Session, EndReason], None], *, stepwise: bool = False,
    ) -> None:  # fmt: skip
        """Args: the dream as it begins, and what it replays; `on_end` is called once; `stepwise`: it moves by steps."""
        self.id = secrets.token_hex(4)
        self.token = secrets.token_urlsafe(24)
        self.watch_token = secrets.token_urlsafe(12)
        self.born = self.last_input = time.monotonic()
        self.detached_since: float | None = self.born
        self.left = False
        """Whether its page was closed or reloaded, so that nobody is likely to come back."""
        self._services, self._config = services, services.config
        self._dream, self._stream, self._on_end = dream, stream, on_end
        self._loop = asyncio.get_running_loop()
        self.audience = Audience(stream.format)
        self._steering = Steering(self._config, services.paths, dream.pilot, stepwise=stepwise)
        self._turns = Turns(
            services, dream, self._steering, self.audience,
            beginning=beginning, replaying=replaying, owner=self.id, begun=self._begun,
        )  # fmt: skip
        self.keepsakes = Keepsakes(
            self._config, services.settings, stream, dream.history, partial(self._soon, self._turns.hashed)
        )  # fmt: skip
        self._pacer = Pacer(self._config.fps)
        self._guard = services.guard()
        self._allowance = Allowance(services.settings.session_fps)
        self._network = Network(self._config.frames_per_chunk / self._config.fps, len(QUALITIES))
        self._newest = self._shown = -1
        self._last: Dreamed | None = None
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
            before.client.send(news.Ended(reason="taken_over"))
            before.client.close(1000, "taken over")
        self.audience.leave(client)
        viewer = self.audience.take_seat(client)
        self._stream.wants_pictures = self.audience.wants_pictures
        self.detached_since = None
        self.last_input = time.monotonic()
        self._steering.forget()
        self._network.forget()
        self._announced = None
        # A page that wants to pause says so again: it may have resumed while it could not be heard.
        self._paused = False
        # The repeated chunk is on its way to the screen like any other.
        self._shown = self._newest - (self._last is not None)
        viewer.send_ready(self._ready(client))
        if self._last is not None:
            self._encode(self._last, repeated=True)
        else:
            self._stream.want_key_frame()
        if replaying := self._turns.replaying:
            client.send(replaying.message("playing"))
        if self.audience.watchers:
            client.send(news.Audience(spectators=self.audience.watchers))
        self._wake.set()

    def detach(self, client: Client, *, left: bool = False) -> None:
        """A connection is gone. Without its player everything stays warm, and nothing is dreamed.

        Args: `left`: the page was closed, no line broke.
        """
        if self.audience.leave(client):
            self.audience.tell(news.Audience(spectators=self.audience.watchers))
        elif self.audience.player is not None and self.audience.player.client is client:
            self.audience.player = None
            self.left = left
            self.detached_since = time.monotonic()
            self._dream.pilot.release()
        self._stream.wants_pictures = self.audience.wants_pictures

    def watch(self, client: Client) -> None:
        """Show the session to one more connection, which changes nothing in it. Raises ProtocolError."""
        self._must_live()
        most = self._services.settings.spectators
        if self.audience.viewer_of(client) is None and self.audience.watchers >= most:
            raise protocol.ProtocolError("full", f"watch: {most} watch this session already, as many as may")
        if self.audience.player is not None and self.audience.player.client is client:
            self.detach(client)
        viewer = self.audience.join(client)
        self._stream.wants_pictures = self.audience.wants_pictures
        viewer.send_ready(self._ready(client, spectator=True))
        self._show_now(viewer)
        client.send(news.State(state=self._state))
        self.audience.tell(news.Audience(spectators=self.audience.watchers))

    def _show_now(self, viewer: Viewer) -> None:
        """A watcher gets the newest picture, whatever moves."""
        last = self._last
        if not viewer.pictures or last is None:
            self.audience.catch_up(viewer)
            return

        def done(pictures: list[bytes]) -> None:
            self._soon(viewer.show, Parcel(last, Encoded([], pictures, 0.0), True, True, self.born))

        self._stream.make_pictures(last.frames[-1:], done)

    def _must_live(self) -> None:
        if self._ended:
            raise protocol.ProtocolError("session_gone", "that session has just ended: send start without a token")

    def _ready(self, client: Client, *, spectator: bool = False) -> news.Ready:
        return ready_message(
            self._config, self._services.settings, session=self.id, token="" if spectator else self.token,
            watch=self.watch_token, spectator=spectator, player=client.player, seed=self._dream.seed,
            scene=self._dream.pilot.scene, resumed=self._last is not None, index=self._newest + 1,
            history=None if spectator else self._dream.history.summary(),
            replay=self._turns.replaying and self._turns.replaying.name,
        )  # fmt: skip

    # -- what the visitor does -----------------------------------------------------------------------------------

    async def handle(self, message: protocol.AnyClientMessage) -> None:
        """Follow a message. Raises ProtocolError and changes nothing where it cannot be followed."""
        match message:
            case protocol.Shown():
                self._note_shown(message)
                return
            case protocol.Ping():
                self.audience.tell(self._pong(message))
                return
            case protocol.Pause() | protocol.Resume():
                self._paused = isinstance(message, protocol.Pause)
                self._network.forget()
                if not self._paused:
                    self._stream.want_key_frame()
            case protocol.Reset() | protocol.Rewind() | protocol.Start() | protocol.Step():
                self._check(message)
                await self._turns.ask(message)
            case _:
                if await self._steering.follow(message):
                    self._stream.want_key_frame()
                self._turns.take_over()
        self.last_input = time.monotonic()
        self._wake.set()

    def _check(self, message: protocol.Reset | protocol.Rewind | protocol.Start | protocol.Step) -> None:
        if isinstance(message, protocol.Reset) and message.scene is not None:
            check_scene(self._config, message.scene, message.seq)
        if isinstance(message, protocol.Rewind) and message.chunk > self._newest:
            raise protocol.ProtocolError(
                "bad_chunk", f"rewind: chunk {message.chunk} is not dreamed yet, the newest is {self._newest}",
                message.seq,
            )  # fmt: skip

    def handle_watcher(self, client: Client, message: protocol.AnyClientMessage) -> None:
        """Follow a watcher's message. Raises ProtocolError for one that would change anything."""
        viewer = self.audience.viewer_of(client)
        match message:
            case protocol.Ping():
                client.send(self._pong(message))
            case protocol.Shown() if viewer is not None:
                viewer.note_shown(message.chunk)
            case protocol.Pause() if viewer is not None:
                viewer.paused = True
            case protocol.Resume() if viewer is not None:
                viewer.paused = False
                self._show_now(viewer)
            case _:
                raise protocol.ProtocolError(
                    "read_only", f"{message.type}: who watches may send start, shown, pause, resume and ping",
                    message.seq,
                )  # fmt: skip

    def _pong(self, ping: protocol.Ping) -> news.Pong:
        return news.Pong(seq=ping.seq, time=round(time.monotonic() - self.born, 4))

    def _note_shown(self, message: protocol.Shown) -> None:
        if message.chunk > self._newest:
            raise protocol.ProtocolError(
                "bad_chunk", f"shown: chunk {message.chunk} was never sent, the newest is {self._newest}", message.seq
            )
        self._shown = max(self._shown, message.chunk)
        if self.audience.player is not None:
            self.audience.player.note_shown(message.chunk)
        if change := self._network.shown(message.chunk, time.monotonic()):
            self._stream.set_quality(change.level)
            self.audience.tell(change)
            self._services.metrics.quality(change.reason)
        self._wake.set()

    def _begun(self, anew: bool) -> None:
        """A new rollout has begun, on the player's `start` or on `reset`."""
        self._paused = False
        self._stream.want_key_frame()
        if anew:
            self._last = None
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
            self.audience.tell(news.State(state=state))
            self.audience.tell_watchers(news.State(state=state))

    async def _dream_chunk(self) -> None:
        asked = time.monotonic()
        deadline = asked if self._steering.eager_seq is not None else self._pacer.played_out
        stepped = self._services.engine.submit(lambda _world: self._step(asked), deadline=deadline, owner=self.id)
        dreamed, eager, viewer = await asyncio.wrap_future(stepped)
        self._steering.dreamed(dreamed.shaping.seq, arrived=viewer is self.audience.player)
        self._last, self._newest = dreamed, dreamed.index
        self._turns.tell_replay(dreamed)
        self._allowance.spent(len(dreamed.frames), dreamed.shaping.at)
        self._pacer.dreamed(
            began=dreamed.shaping.at, finished=dreamed.finished, frames=len(dreamed.frames), eager=eager
        )  # fmt: skip

    def _step(self, asked: float) -> tuple[Dreamed, bool, Viewer | None]:
        """On the engine's thread: the frames leave for the encoder before the caches are brought up to date.

        Returns the chunk, whether it is eager, and whom it went to.
        """
        begun = time.monotonic()
        dreamed = self._dream.step()
        dreamed.timings["queue"] = (begun - asked) * 1e3
        eager, viewer = self._steering.answers(dreamed.shaping.seq), self.audience.player
        self._turns.note(dreamed)
        self._encode(dreamed, eager=eager)
        self.keepsakes.note(dreamed)
        if self._guard is not None and self._guard.note(dreamed.node.scene, dreamed.frames):
            self._soon(self._turns.begin_again, self._guard.reason, self._wake.set)
        later = time.monotonic() + self._config.frames_per_chunk / self._config.fps
        finalized = self._services.engine.submit(
            lambda _world: self._dream.finalize(), deadline=later, urgency=Urgency.UPKEEP, owner=self.id
        )
        finalized.add_done_callback(self._finalized)
        return dreamed, eager, viewer

    def _finalized(self, result: Future[bool]) -> None:
        """On the engine's thread."""
        if result.cancelled():
            return
        if (error := result.exception()) is not None:
            self._soon(self.fail, error)
        elif result.result():
            self._soon(self._turns.tell_history)

    # -- from picture to wire ------------------------------------------------------------------------------------

    def _encode(self, dreamed: Dreamed, *, eager: bool = False, repeated: bool = False) -> None:
        """On any thread. A repeated chunk is its last frame once more, as a key frame."""
        frames = dreamed.frames[-1:] if repeated else dreamed.frames

        def done(encoded: Encoded) -> None:
            self.keepsakes.record(encoded)
            self._soon(self._deliver, Parcel(dreamed, encoded, eager, repeated, self.born))

        self._stream.encode(frames, done, partial(self._soon, self.fail), key=repeated)

    def _deliver(self, parcel: Parcel) -> None:
        index, milliseconds = parcel.dreamed.index, parcel.encoded.milliseconds
        self._pacer.encoded(milliseconds / 1e3)
        if size := self.audience.deliver(parcel):
            self._network.sent(index, size, time.monotonic())
            self._services.metrics.chunk(parcel, size)

    def _soon(self, call: Callable[..., object], *arguments: object) -> None:
        """Have the event loop call something; from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: the server has stopped
            self._loop.call_soon_threadsafe(call, *arguments)

    # -- the end -------------------------------------------------------------------------------------------------

    def warn(self, what: Literal["minutes", "idle"], seconds: float) -> None:
        """The session ends for a limit in so many seconds."""
        self.audience.tell(news.Limit(what=what, seconds=seconds))

    def fail(self, error: BaseException) -> None:
        """End the session for what went wrong in it: its visitor gets a sentence, nobody else notices."""
        if self._ended:
            return
        log.error("session %s failed", self.id, exc_info=error)
        sentence = f"this dream had to end ({type(error).__name__}: {str(error)[:300]}); start a new one"
        self.audience.tell(news.Error(code="session_failed", message=sentence))
        self.end("failed")

    def end(self, reason: EndReason) -> None:
        """End the session: its visitor is told, its place is free."""
        if self._ended:
            return
        self._ended = True
        self._task.cancel()
        self._stream.close()
        player, self.audience.player = self.audience.player, None
        if player is not None:
            player.client.send(news.Ended(reason=reason))
            player.client.close(1011 if reason == "failed" else 1000, reason)
        self.audience.close(reason)
        self._services.engine.forget(self.id)
        self._on_end(self, reason)
