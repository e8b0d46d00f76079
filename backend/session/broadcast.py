"""From dreamed pictures to everybody's screens: encoding, the player and the watchers, and what is kept of it all."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from functools import partial

from backend.engine.history import History, Node
from backend.engine.rollout import Dreamed
from backend.media.bitrate import Network
from backend.media.encoder_thread import Encoded, VideoStream
from backend.media.h264 import QUALITIES
from backend.session.chunk_messages import Parcel
from backend.session.context import Services
from backend.session.exports import Keepsakes
from backend.session.viewers import Audience, Client, Viewer
from backend.wire import client_messages, server_messages


class Showing:
    """One session's pictures. All methods run on the event loop unless they say otherwise."""

    def __init__(
        self,
        services: Services,
        stream: VideoStream,
        history: History,
        *,
        hashed: Callable[[Node], None],
        delivered: Callable[[float], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """Begin.

        Args:
            services: the server's.
            stream: encodes; it is closed with this.
            history: the session's.
            hashed: called when the hash of a chunk is there.
            delivered: called for every chunk that was sent, with the seconds that encoding took.
            failed: called when encoding went wrong.
        """
        self._services, self._stream = services, stream
        self._loop = asyncio.get_running_loop()
        self._delivered, self._failed = delivered, failed
        self.born = time.monotonic()
        self.audience = Audience(stream.format)
        config = services.config
        self._network = Network(config.frames_per_chunk / config.fps, len(QUALITIES))
        self.keepsakes = Keepsakes(config, services.settings, stream, history, partial(self.soon, hashed))
        self.last: Dreamed | None = None
        """The newest chunk of the present rollout, which a new connection sees first."""

    @property
    def clock(self) -> float:
        """Seconds since the session began."""
        return round(time.monotonic() - self.born, 4)

    def soon(self, call: Callable[..., object], *arguments: object) -> None:
        """Have the event loop call something; from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: the server has stopped
            self._loop.call_soon_threadsafe(call, *arguments)

    # -- who sees it ---------------------------------------------------------------------------------------------

    def seat(self, client: Client, ready: server_messages.Ready) -> None:
        """The player's connection is another one now: it sees the newest picture first."""
        self.audience.leave(client)
        viewer = self.audience.take_seat(client)
        self._network.forget()
        self._stream.wants_pictures = self.audience.wants_pictures
        viewer.send_ready(ready)
        if self.last is not None:
            self.encode(self.last, repeated=True)
        else:
            self._stream.want_key_frame()
        if self.audience.watchers:
            client.send(server_messages.Audience(spectators=self.audience.watchers))

    def unseat(self, client: Client) -> bool:
        """A connection is gone; whether it was the player's."""
        was_player = self.audience.player is not None and self.audience.player.client is client
        if was_player:
            self.audience.player = None
        elif self.audience.leave(client):
            self.audience.tell(server_messages.Audience(spectators=self.audience.watchers))
        self._stream.wants_pictures = self.audience.wants_pictures
        return was_player

    def admit(self, client: Client, ready: server_messages.Ready) -> None:
        """A watcher comes. Raises ProtocolError where there are too many."""
        most = self._services.settings.spectators
        if self.audience.viewer_of(client) is None and self.audience.watchers >= most:
            raise client_messages.ProtocolError("full", f"watch: {most} watch this session already, as many as may")
        viewer = self.audience.join(client)
        self._stream.wants_pictures = self.audience.wants_pictures
        viewer.send_ready(ready)
        self._show_now(viewer)
        self.audience.tell(server_messages.Audience(spectators=self.audience.watchers))

    def _show_now(self, viewer: Viewer) -> None:
        """A watcher gets the newest picture, whatever moves."""
        last = self.last
        if not viewer.pictures or last is None:
            self.audience.catch_up(viewer)
            return

        def done(pictures: list[bytes]) -> None:
            self.soon(viewer.show, Parcel(last.without_frames(), Encoded([], pictures, 0.0), True, True, self.born))

        self._stream.make_pictures(last.frames[-1:], done)

    def handle_watcher(self, client: Client, message: client_messages.AnyClientMessage) -> None:
        """Follow a watcher's message. Raises ProtocolError for one that would change anything."""
        viewer = self.audience.viewer_of(client)
        match message:
            case client_messages.Ping():
                client.send(server_messages.Pong(seq=message.seq, time=self.clock))
            case client_messages.Shown() if viewer is not None:
                viewer.note_shown(message.chunk)
            case client_messages.Pause() if viewer is not None:
                viewer.paused = True
            case client_messages.Resume() if viewer is not None:
                viewer.paused = False
                self._show_now(viewer)
            case _:
                raise client_messages.ProtocolError(
                    "read_only",
                    f"{message.type}: who watches may send start, shown, pause, resume and ping",
                    message.seq,
                )

    # -- from picture to wire ------------------------------------------------------------------------------------

    def dreamed(self, chunk: Dreamed, *, eager: bool) -> None:
        """Encode a new chunk, and keep what is to be kept of it. On any thread."""
        self.last = chunk
        self.encode(chunk, eager=eager)
        self.keepsakes.note(chunk)

    def encode(self, chunk: Dreamed, *, eager: bool = False, repeated: bool = False) -> None:
        """On any thread. A repeated chunk is its last frame once more, as a key frame."""
        frames = chunk.frames[-1:] if repeated else chunk.frames

        def done(encoded: Encoded) -> None:
            self.keepsakes.record(encoded)
            self.soon(self._deliver, Parcel(chunk.without_frames(), encoded, eager, repeated, self.born))

        self._stream.encode(frames, done, partial(self.soon, self._failed), key=repeated)

    def _deliver(self, parcel: Parcel) -> None:
        self._delivered(parcel.encoded.milliseconds / 1e3)
        if size := self.audience.deliver(parcel):
            self._network.sent(parcel.dreamed.index, size, time.monotonic())
            self._services.metrics.chunk(parcel, size)

    def want_key_frame(self) -> None:
        """The next chunk is one that a player can begin with."""
        self._stream.want_key_frame()

    def rest(self) -> None:
        """The player pauses or goes on: times before and after say nothing of the network."""
        self._network.forget()

    def shown(self, index: int) -> None:
        """A chunk is on the player's screen: by the time that took, the video gets coarser or finer."""
        if change := self._network.shown(index, time.monotonic()):
            self._stream.set_quality(change.level)
            self.audience.tell(change)
            self._services.metrics.quality(change.reason)

    def close(self, reason: str) -> None:
        """The session is over."""
        self._stream.close()
        player, self.audience.player = self.audience.player, None
        if player is not None:
            player.client.close(1011 if reason == "failed" else 1000, reason)
        self.audience.close(reason)
