"""Broadcast of a session: encodes chunks, sends them to player and viewers, and feeds the exports."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial

from backend.engine.history import History, Node
from backend.engine.rollout import GeneratedChunk
from backend.media.bitrate import BitrateController
from backend.media.encoder_thread import EncodedFrames, EncoderThread
from backend.media.fmp4 import Sample
from backend.media.h264 import QUALITIES
from backend.session.chunk_messages import EncodedChunk
from backend.session.context import Context
from backend.session.exports import Exports
from backend.session.viewers import Client, Viewer, Viewers
from backend.wire import client_messages, server_messages

CLOSE_CODES = {"failed": 1011, "moved": 1012, "shutdown": 1012}
"""WebSocket close codes by reason; others close with 1000. After 1012 a client connects again with its token."""


class Broadcast:
    """Broadcast of one session. All methods run on the event loop unless they say otherwise."""

    def __init__(
        self,
        context: Context,
        encoder: EncoderThread,
        history: History,
        viewers: Viewers,
        *,
        hashed: Callable[[Node], None],
        delivered: Callable[[float], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """Begin.

        Args:
            context: what all sessions share.
            encoder: encodes chunks; it is closed with this.
            history: the session's.
            viewers: the session's connections.
            hashed: called when the hash of a chunk is computed.
            delivered: called for every chunk that was sent, with the seconds that encoding took.
            failed: called with the error if encoding fails.
        """
        self._context, self._encoder = context, encoder
        self._loop = asyncio.get_running_loop()
        self._delivered, self._failed = delivered, failed
        self.created_at = self._context.clock()
        self.viewers = viewers
        config = context.config
        self._bitrate = BitrateController(config.frames_per_chunk / config.fps, len(QUALITIES))
        self.exports = Exports(config, context.settings, encoder, history, partial(self.soon, hashed))
        self.last: GeneratedChunk | None = None
        """Newest chunk of the present rollout, which a new connection sees first."""

    @property
    def clock(self) -> float:
        """Seconds since the session began."""
        return round(self._context.clock() - self.created_at, 4)

    def restore(self, last: GeneratedChunk | None, recording: list[list[Sample]]) -> None:
        """Continue the stream of a session that was played elsewhere."""
        self.last = last
        for group in recording:
            self.exports.recording.add(group)
        if last is not None:
            self.exports.restore(last)

    def soon(self, call: Callable[..., object], *arguments: object) -> None:
        """Call something on the event loop. Safe on any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: the server has stopped
            self._loop.call_soon_threadsafe(call, *arguments)

    # -- connections ---------------------------------------------------------------------------------------------

    def attach(self, client: Client, ready: server_messages.ReadyMessage) -> None:
        """Set the player's connection, which gets the newest frame first."""
        self.viewers.remove(client)
        viewer = self.viewers.set_player(client)
        self._bitrate.forget()
        self._encoder.wants_jpeg = self.viewers.wants_jpeg
        viewer.send_ready(ready)
        if self.last is not None:
            self.encode(self.last, repeated=True)
        else:
            self._encoder.want_key_frame()
        if self.viewers.watchers:
            client.send(self.viewers.watchers_message())

    def detach(self, client: Client) -> bool:
        """Forget a closed connection; return True if it was the player's."""
        was_player = self.viewers.player is not None and self.viewers.player.client is client
        if was_player:
            self.viewers.player = None
        elif self.viewers.remove(client):
            self.viewers.send_player(self.viewers.watchers_message())
        self._encoder.wants_jpeg = self.viewers.wants_jpeg
        return was_player

    def subscribe(self, client: Client, ready: server_messages.ReadyMessage) -> None:
        """Add a viewer. Raises ProtocolError if there are too many."""
        most = self._context.settings.spectators
        if self.viewers.viewer_of(client) is None and self.viewers.watchers >= most:
            raise client_messages.ProtocolError("full", f"watch: this session has its {most} viewers already")
        viewer = self.viewers.add(client)
        self._encoder.wants_jpeg = self.viewers.wants_jpeg
        viewer.send_ready(ready)
        self._show_now(viewer)
        self.viewers.send_player(self.viewers.watchers_message())

    def _show_now(self, viewer: Viewer) -> None:
        """Send a viewer the newest frame, also where nothing moves."""
        last = self.last
        if not viewer.jpeg or last is None:
            self.viewers.catch_up(viewer)
            return

        def done(jpegs: list[bytes]) -> None:
            self.soon(viewer.show, self._encoded_chunk(last, EncodedFrames([], jpegs, 0.0), urgent=True, repeated=True))

        self._encoder.encode_jpegs(last.frames[-1:], done)

    def handle_watcher(self, client: Client, message: client_messages.AnyClientMessage) -> None:
        """Handle a viewer's message. Raises ProtocolError for one that would change the session."""
        viewer = self.viewers.viewer_of(client)
        match message:
            case client_messages.PingMessage():
                client.send(server_messages.PongMessage(seq=message.seq, time=self.clock))
            case client_messages.ShownMessage() if viewer is not None:
                viewer.note_shown(message.chunk)
            case client_messages.PauseMessage() if viewer is not None:
                viewer.paused = True
            case client_messages.ResumeMessage() if viewer is not None:
                viewer.paused = False
                self._show_now(viewer)
            case _:
                raise client_messages.ProtocolError(
                    "read_only",
                    f"{message.type}: a viewer may send start, shown, pause, resume and ping",
                    message.seq,
                )

    # -- encoding and sending ------------------------------------------------------------------------------------

    def generated(self, chunk: GeneratedChunk, *, urgent: bool) -> None:
        """Encode a new chunk and note it for the exports. Safe on any thread."""
        self.last = chunk
        self.encode(chunk, urgent=urgent)
        self.exports.note(chunk)

    def encode(self, chunk: GeneratedChunk, *, urgent: bool = False, repeated: bool = False) -> None:
        """Encode a chunk; if `repeated`, only its last frame, as a key frame. Safe on any thread."""
        frames = chunk.frames[-1:] if repeated else chunk.frames

        def done(encoded: EncodedFrames) -> None:
            self.exports.record(encoded)
            self.soon(self._deliver, self._encoded_chunk(chunk, encoded, urgent=urgent, repeated=repeated))

        self._encoder.encode(frames, done, partial(self.soon, self._failed), key=repeated)

    def _encoded_chunk(
        self, chunk: GeneratedChunk, encoded: EncodedFrames, *, urgent: bool, repeated: bool
    ) -> EncodedChunk:
        return EncodedChunk(chunk.without_frames(), encoded, urgent, repeated, self.created_at, self._context.clock)

    def _deliver(self, chunk: EncodedChunk) -> None:
        self._delivered(chunk.encoded.milliseconds / 1e3)
        if size := self.viewers.deliver(chunk):
            self._bitrate.sent(chunk.generated.index, size, self._context.clock())
            self._context.metrics.chunk(chunk, size)
            if not chunk.repeated:
                timings, config = chunk.generated.timings, self._context.config
                taken = (timings["queue"] + timings["generate"]) / 1e3
                self._context.lag.note(taken, len(chunk.encoded.samples) / config.fps)

    def want_key_frame(self) -> None:
        """Begin the next chunk with a key frame, so that a player can begin with it."""
        self._encoder.want_key_frame()

    def rest(self) -> None:
        """Forget network timings, which a pause makes useless."""
        self._bitrate.forget()

    def shown(self, index: int) -> None:
        """Note that a chunk is on the player's screen, and adapt the bitrate to the time that took."""
        if change := self._bitrate.shown(index, self._context.clock()):
            self._encoder.set_quality(change.level)
            self.viewers.send_player(change)
            self._context.metrics.quality(change.reason)

    def close(self, reason: str) -> None:
        """Close encoder and connections."""
        self._encoder.close()
        player, self.viewers.player = self.viewers.player, None
        if player is not None:
            player.client.close(CLOSE_CODES.get(reason, 1000), reason)
        self.viewers.close(reason)
