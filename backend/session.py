"""A session: one visitor's dream, when it moves, when it sleeps, and what happens to it on every message."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from functools import partial
from typing import Literal, Protocol

from pydantic import BaseModel

from backend import protocol
from backend.catalog import check_scene, scenes_of
from backend.dream import Dream, Dreamed
from backend.engine import Engine, Urgency
from backend.messages import chunk_message
from backend.metrics import Metrics
from backend.pacing import Pacer
from backend.paths import Paths
from backend.video.encoder import Fragment
from backend.video.stream import VideoStream

CREDITS = 2
"""Chunks that may be on their way to the screen: without word from the page nothing more is dreamed."""
OPENING_CHUNKS = 2
"""Dreamed without any input, so that there is a picture."""
SETTLING_CHUNKS = 4
"""Dreamed after a new scene or text even where the camera rests, so that the change is seen."""

EndReason = Literal["idle", "failed", "taken_over", "shutdown"]
Order = Callable[[], Awaitable[None]]
log = logging.getLogger(__name__)


class Client(Protocol):
    """The connection that shows a session."""

    def send(self, message: BaseModel, media: bytes | None = None) -> None:
        """Queue a message, and a binary one right behind it."""

    def close(self, code: int, reason: str) -> None:
        """Close once everything queued has left."""


class Session:
    """All methods run on the event loop unless they say otherwise."""

    def __init__(
        self, engine: Engine, paths: Paths, metrics: Metrics, dream: Dream, on_end: Callable[[Session], None]
    ) -> None:
        """Args: `on_end` is called once, when the session is over. See `begin`."""
        self.id = secrets.token_hex(4)
        self.token = secrets.token_urlsafe(24)
        self.last_input = time.monotonic()
        self.detached_since: float | None = self.last_input
        self.left = False
        """Whether its page was closed or reloaded, so that nobody is likely to come back."""
        self._config = engine.config
        self._engine, self._paths, self._metrics = engine, paths, metrics
        self._dream, self._pilot, self._on_end = dream, dream.pilot, on_end
        self._loop = asyncio.get_running_loop()
        self._born = time.monotonic()
        self._pacer = Pacer(self._config.fps)
        self._client: Client | None = None
        self._stream: VideoStream | None = None
        self._newest = -1
        self._shown = -1
        self._last: Dreamed | None = None
        self._owed = OPENING_CHUNKS
        self._eager_seq: int | None = None
        self._paused = False
        self._announced: str | None = None
        self._orders: deque[Order] = deque()
        self._wake = asyncio.Event()
        self._ended = False
        self._task = asyncio.create_task(self._run(), name=f"session-{self.id}")

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return not self._ended

    # -- the connection ------------------------------------------------------------------------------------------

    async def attach(self, client: Client) -> None:
        """Show the session on a connection from now on; whoever had it before is told and closed."""
        stream = await asyncio.to_thread(VideoStream, self._config.width, self._config.height, self._config.fps)
        if self._ended:
            stream.close()
            raise protocol.ProtocolError("session_gone", "that session has just ended: send start without a token")
        if self._client is not None and self._client is not client:
            self._client.send(protocol.Ended(reason="taken_over"))
            self._client.close(1000, "taken over")
        self._drop_stream()
        if self._last is not None:
            # Handed in before the engine can see the stream, so that no newer chunk comes first.
            self._encode(stream, self._last, last_frame_only=True)
        self._client, self._stream = client, stream
        self.detached_since = None
        self.last_input = time.monotonic()
        self._pilot.forget_seq()
        self._eager_seq = self._announced = None
        # A page that wants to pause says so again: it may have resumed while it could not be heard.
        self._paused = False
        # The repeated chunk is on its way to the screen like any other.
        self._shown = self._newest - (self._last is not None)
        client.send(self._ready(stream.mime), stream.init_segment)
        self._wake.set()

    def detach(self, client: Client, *, left: bool = False) -> None:
        """The connection is gone: keep everything warm, dream nothing. `left`: the page was closed, no line broke."""
        if self._client is client:
            self._client = None
            self.left = left
            self.detached_since = time.monotonic()
            self._drop_stream()
            self._pilot.release()

    def _drop_stream(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _ready(self, mime: str) -> protocol.Ready:
        config = self._config
        return protocol.Ready(
            session=self.id, token=self.token, mime=mime, width=config.width, height=config.height, fps=config.fps,
            frames_per_chunk=config.frames_per_chunk, scenes=scenes_of(config), seed=self._dream.seed,
            world=config.slug, scene=self._pilot.scene, title=config.title, controls=list(config.controls),
            parameters=config.parameters, window_chunks=config.window_chunks,
            resumed=self._last is not None, index=self._newest + 1,
        )  # fmt: skip

    # -- what the visitor does -----------------------------------------------------------------------------------

    async def handle(self, message: protocol.AnyClientMessage) -> None:
        """Follow a message. Raises ProtocolError and changes nothing where it cannot be followed."""
        match message:
            case protocol.Shown():
                self._note_shown(message)
                return
            case protocol.Keys():
                self._keys(message)
            case protocol.Look():
                self._look(message)
            case protocol.Path():
                await self._path(message)
            case protocol.SceneChange():
                self._require("scene", message)
                check_scene(self._config, message.scene, message.seq)
                self._pilot.change_scene(message.scene)
                self._shape(message, owed=SETTLING_CHUNKS, key_frame=True)
            case protocol.Text():
                self._require("text", message)
                if not message.text.strip():
                    raise protocol.ProtocolError("bad_message", "text: say what is to happen, got nothing", message.seq)
                self._pilot.say(message.text)
                self._shape(message, owed=SETTLING_CHUNKS)
            case protocol.Pause():
                self._paused = True
            case protocol.Resume():
                self._paused = False
                self._want_key_frame()
            case protocol.Reset():
                if message.scene is not None:
                    check_scene(self._config, message.scene, message.seq)
                self._orders.append(partial(self._restart, message))
            case protocol.Rewind():
                if message.chunk > self._newest:
                    raise protocol.ProtocolError(
                        "bad_chunk", f"rewind: chunk {message.chunk} is not dreamed yet, the newest is {self._newest}",
                        message.seq,
                    )  # fmt: skip
                self._orders.append(partial(self._rewind, message))
            case protocol.Start():
                self._orders.append(partial(self._restart, message))
        self.last_input = time.monotonic()
        self._wake.set()

    def _require(self, control: str, message: protocol.ClientMessage) -> None:
        if control not in self._config.controls:
            raise protocol.ProtocolError(
                "unsupported",
                f"world {self._config.slug} takes no {control}: it takes {', '.join(self._config.controls)}",
                message.seq,
            )

    def _note_shown(self, message: protocol.Shown) -> None:
        if message.chunk > self._newest:
            raise protocol.ProtocolError(
                "bad_chunk", f"shown: chunk {message.chunk} was never sent, the newest is {self._newest}", message.seq
            )
        self._shown = max(self._shown, message.chunk)
        self._wake.set()

    async def _path(self, message: protocol.Path) -> None:
        self._require("path", message)
        try:
            poses, fps = self._paths.resolve(message, self._config.fps)
            # Resampling a long path takes a while.
            await asyncio.to_thread(self._pilot.path, poses, fps)
        except ValueError as error:
            raise protocol.ProtocolError("bad_path", str(error), message.seq) from None
        self._shape(message)

    def _keys(self, message: protocol.Keys) -> None:
        self._require("keys", message)
        before = self._pilot.held
        try:
            self._pilot.keys(message.down)
        except ValueError as error:
            raise protocol.ProtocolError("unknown_key", str(error), message.seq) from None
        # Releasing the last key needs no answer: nothing would move in it.
        self._shape(message, eager=self._pilot.held != before and self._pilot.moving)

    def _look(self, message: protocol.Look) -> None:
        self._require("look", message)
        self._pilot.look(message.yaw, message.pitch)
        # Only the beginning of a look jumps ahead; while it flows, jumping at every message would be jerky.
        self._shape(message, eager=not self._pilot.look_flows)

    def _shape(
        self, message: protocol.ClientMessage, *, eager: bool = True, owed: int = 0, key_frame: bool = False
    ) -> None:
        """Note that the next chunk answers `message`: at once if `eager`."""
        self._pilot.shaped_by(message.seq)
        self._owed = max(self._owed, owed)
        if eager:
            self._eager_seq = message.seq
        if key_frame:
            self._want_key_frame()

    def _want_key_frame(self) -> None:
        if self._stream is not None:
            self._stream.want_key_frame()

    # -- orders: done between two chunks -------------------------------------------------------------------------

    async def _restart(self, message: protocol.Reset | protocol.Start) -> None:
        scene = message.scene or self._pilot.scene
        seed = self._dream.seed if message.seed is None else message.seed
        text = message.text if isinstance(message, protocol.Start) else None
        await self._on_engine(lambda: self._dream.restart(scene, seed, text))
        self._paused = False
        if isinstance(message, protocol.Start) and self._client is not None:
            self._last = None
            await self.attach(self._client)
        self._shape(message, owed=OPENING_CHUNKS, key_frame=True)

    async def _rewind(self, message: protocol.Rewind) -> None:
        try:
            await self._on_engine(lambda: self._dream.rewind(message.chunk))
        except LookupError as error:
            if self._client is not None:
                self._client.send(protocol.Error(code="bad_chunk", message=str(error), seq=message.seq))
            return
        self._shape(message, owed=1, key_frame=True)

    async def _on_engine(self, work: Callable[[], None]) -> None:
        await asyncio.wrap_future(self._engine.submit(lambda _world: work(), deadline=time.monotonic()))

    # -- the loop ------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while True:
                await self._until_due()
                if self._orders:
                    await self._orders.popleft()()
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
        if self._orders:
            return 0.0
        if self._client is None or self._paused or self._newest - self._shown >= CREDITS:
            return None
        if not self._lively:
            return None
        return 0.0 if self._eager_seq is not None else self._pacer.begin_at()

    @property
    def _lively(self) -> bool:
        return self._config.flows or self._owed > 0 or self._pilot.moving

    def _announce(self) -> None:
        state: Literal["live", "idle", "paused"] = "paused" if self._paused else "live" if self._lively else "idle"
        if self._client is not None and state != self._announced:
            self._announced = state
            self._client.send(protocol.State(state=state))

    async def _dream_chunk(self) -> None:
        deadline = time.monotonic() if self._eager_seq is not None else self._pacer.played_out
        stepped = self._engine.submit(lambda _world: self._step(), deadline=deadline)
        dreamed, eager, stream = await asyncio.wrap_future(stepped)
        if self._eager_seq is not None and self._eager_seq <= dreamed.shaping.seq:
            self._eager_seq = None
        self._last, self._newest = dreamed, dreamed.index
        # A chunk that went to a connection now gone is made good by another one.
        self._owed = max(0, self._owed - 1) if stream is self._stream else max(1, self._owed)
        self._pacer.dreamed(
            began=dreamed.shaping.at, finished=dreamed.finished, frames=len(dreamed.frames), eager=eager
        )  # fmt: skip

    def _step(self) -> tuple[Dreamed, bool, VideoStream | None]:
        """On the engine's thread: the frames leave for the encoder before the caches are brought up to date.

        Returns the chunk, whether it is eager, and where it went.
        """
        dreamed = self._dream.step()
        wanted = self._eager_seq
        eager = wanted is not None and wanted <= dreamed.shaping.seq
        stream = self._stream
        if stream is not None:
            self._encode(stream, dreamed, eager=eager)
        later = time.monotonic() + self._config.frames_per_chunk / self._config.fps
        finalized = self._engine.submit(lambda _world: self._dream.finalize(), deadline=later, urgency=Urgency.UPKEEP)
        finalized.add_done_callback(self._finalized)
        return dreamed, eager, stream

    def _finalized(self, result: Future[None]) -> None:
        """On the engine's thread."""
        if not result.cancelled() and (error := result.exception()) is not None:
            self._soon(self.fail, error)

    # -- from picture to wire ------------------------------------------------------------------------------------

    def _encode(
        self, stream: VideoStream, dreamed: Dreamed, *, eager: bool = False, last_frame_only: bool = False
    ) -> None:
        """On any thread."""
        frames = dreamed.frames[-1:] if last_frame_only else dreamed.frames

        def done(fragment: Fragment, encode_ms: float) -> None:
            chunk = chunk_message(dreamed, fragment, encode_ms, born=self._born, eager=eager, repeated=last_frame_only)
            self._soon(self._deliver, stream, chunk, fragment)

        stream.encode(frames, done, partial(self._soon, self.fail))

    def _deliver(self, stream: VideoStream, chunk: protocol.Chunk, fragment: Fragment) -> None:
        if self._client is not None and stream is self._stream:
            self._client.send(chunk, fragment.data)
            self._pacer.encoded(chunk.timings["encode"] / 1e3)
            self._metrics.chunk(chunk, len(fragment.data))

    def _soon(self, call: Callable[..., None], *arguments: object) -> None:
        """Have the event loop call something; from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: the server has stopped
            self._loop.call_soon_threadsafe(call, *arguments)

    # -- the end -------------------------------------------------------------------------------------------------

    def fail(self, error: BaseException) -> None:
        """End the session for what went wrong in it: its visitor gets a sentence, nobody else notices."""
        if self._ended:
            return
        log.error("session %s failed", self.id, exc_info=error)
        if self._client is not None:
            sentence = f"this dream had to end ({type(error).__name__}: {str(error)[:300]}); start a new one"
            self._client.send(protocol.Error(code="session_failed", message=sentence))
        self.end("failed")

    def end(self, reason: EndReason) -> None:
        """End the session: its visitor is told, its place is free."""
        if self._ended:
            return
        self._ended = True
        self._task.cancel()
        self._drop_stream()
        if self._client is not None:
            self._client.send(protocol.Ended(reason=reason))
            self._client.close(1011 if reason == "failed" else 1000, reason)
            self._client = None
        self._on_end(self)
