"""Viewers of a session: its player and the spectators. All get the same chunks, each with its own media time."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from pydantic import BaseModel

from backend.media.fmp4 import VideoFormat
from backend.session.chunk_messages import EncodedChunk, MediaClock, ready_for_player
from backend.wire import server_messages

MAX_UNSEEN_SECONDS = 3.0
"""Most seconds of video on their way to a spectator; beyond it, one gets nothing until the next key frame."""


class Client(Protocol):
    """A connection that shows a session."""

    @property
    def player(self) -> server_messages.PlayerName:
        """Kind of player that shows the chunks."""

    def send(self, message: BaseModel, media: bytes | None = None) -> None:
        """Queue a message, and a binary one right behind it."""

    def close(self, code: int, reason: str) -> None:
        """Close once everything queued has left."""


class Viewer:
    """One connection's view of the stream: it begins with a key frame at media time 0."""

    def __init__(self, client: Client, video: VideoFormat, *, spectator: bool) -> None:
        self.client = client
        self.jpeg = client.player == "jpeg"
        self.paused = False
        """True while this spectator pauses."""
        self._spectator = spectator
        self._video = video
        self._media_clock = MediaClock(video, jpeg=self.jpeg, spectator=spectator)
        self._begun = False
        self._unseen: deque[tuple[int, int]] = deque()  # (index, frames)

    def send_ready(self, ready: server_messages.ReadyMessage) -> None:
        """Send the first message, with the fields that depend on the player."""
        self.client.send(*ready_for_player(ready, self._video))

    def note_shown(self, index: int) -> None:
        """Note that a chunk, and all before it, is on this viewer's screen."""
        while self._unseen and self._unseen[0][0] <= index:
            self._unseen.popleft()

    def leave_out(self) -> None:
        """Send nothing until the next key frame."""
        self._begun = False
        self._unseen.clear()

    def show(self, chunk: EncodedChunk) -> int:
        """Send a chunk if this viewer can use it; return the bytes of its media."""
        if self._spectator and sum(frames for _, frames in self._unseen) > MAX_UNSEEN_SECONDS * self._video.fps:
            self.leave_out()
        usable = bool(chunk.encoded.jpegs) if self.jpeg else self._begun or chunk.encoded.key
        if self.paused or not usable:
            return 0
        self._begun = True
        message, media = self._media_clock.media(chunk)
        self._unseen.append((message.index, message.frames))
        self.client.send(message, media)
        return len(media)


class Viewers:
    """All viewers of one session. Lives on the event loop."""

    def __init__(self, video: VideoFormat) -> None:
        self._video = video
        self.player: Viewer | None = None
        self.guest: Client | None = None
        """The watcher that has the controls; None: the player has them."""
        self._numbers: dict[Client, int] = {}
        self._newest_number = 0
        self._watchers: dict[Client, Viewer] = {}
        # The chunks since the last key frame: a new spectator begins with them.
        self._group: list[EncodedChunk] = []

    @property
    def watchers(self) -> int:
        """Number of spectators."""
        return len(self._watchers)

    @property
    def wants_jpeg(self) -> bool:
        """True if any viewer shows JPEG images."""
        return any(viewer.jpeg for viewer in self._viewers())

    def _viewers(self) -> list[Viewer]:
        return [*([self.player] if self.player else []), *self._watchers.values()]

    def set_player(self, client: Client) -> Viewer:
        """Replace the player's viewer and return it."""
        self.player = Viewer(client, self._video, spectator=False)
        return self.player

    def add(self, client: Client) -> Viewer:
        """Add a spectator and return its new viewer."""
        self._watchers[client] = Viewer(client, self._video, spectator=True)
        if client not in self._numbers:
            self._newest_number += 1
            self._numbers[client] = self._newest_number
        return self._watchers[client]

    def remove(self, client: Client) -> bool:
        """Remove a spectator; return False if the client is none."""
        self._numbers.pop(client, None)
        return self._watchers.pop(client, None) is not None

    def by_number(self) -> dict[int, Client]:
        """Return the watchers by their numbers."""
        return {number: client for client, number in self._numbers.items()}

    def clients(self) -> list[Client]:
        """Return all connections."""
        return [viewer.client for viewer in self._viewers()]

    def watchers_message(self) -> server_messages.AudienceMessage:
        """Return the message that tells the player who watches."""
        watchers = [
            server_messages.WatcherInfo(number=number, controls=client is self.guest)
            for number, client in self.by_number().items()
        ]
        return server_messages.AudienceMessage(spectators=self.watchers, watchers=watchers)

    def viewer_of(self, client: Client) -> Viewer | None:
        """Return the viewer of a spectator, or None."""
        return self._watchers.get(client)

    def catch_up(self, viewer: Viewer) -> None:
        """Send a spectator the chunks since the last key frame; its player skips to the newest."""
        viewer.leave_out()
        for chunk in self._group[:-1]:
            viewer.show(chunk)
        for chunk in self._group[-1:]:
            viewer.show(chunk.urgent_copy())

    def deliver(self, chunk: EncodedChunk) -> int:
        """Send a chunk to all viewers; return the bytes that the player got, 0 without a player."""
        if chunk.encoded.key:
            self._group.clear()
        self._group.append(chunk)
        sent = self.player.show(chunk) if self.player is not None else 0
        for viewer in self._watchers.values():
            viewer.show(chunk)
        return sent

    def send_player(self, message: BaseModel) -> None:
        """Send the player a message, if there is a player."""
        if self.player is not None:
            self.player.client.send(message)

    def send_watchers(self, message: BaseModel) -> None:
        """Send all spectators a message."""
        for client in self._watchers:
            client.send(message)

    def close(self, reason: str) -> None:
        """Tell the spectators that the session is over, and close their connections."""
        moved = reason == "moved"  # watchers of a moved session connect again as its player does
        if not moved:
            self.send_watchers(server_messages.EndedMessage(reason="shutdown" if reason == "shutdown" else "left"))
        for client in list(self._watchers):
            client.close(1012 if moved or reason == "shutdown" else 1000, reason)
        self._watchers.clear()
        self._numbers.clear()
