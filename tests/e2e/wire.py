"""A server that a test plays itself: it answers the page's socket message by message."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
from playwright.sync_api import Page, WebSocketRoute

from backend.media.fmp4 import FragmentWriter, VideoFormat
from backend.media.h264 import ChunkEncoder
from backend.media.images import JpegEncoder
from backend.session.world_info import limits_of
from backend.settings import Settings
from backend.wire import client_messages
from tests.e2e.chromium import KEEP_SOCKETS, PATIENCE, first_picture
from tests.e2e.files import serve_files

ORIGIN = serve_files(Path(__file__).parents[2] / "frontend")
"""Where the page's files are, and nothing else: the test answers its socket, and what it asks of the server beside."""
WIDTH, HEIGHT, FPS = 256, 144, 24
GREY = (120, 120, 120)
MARK = "mark"
"""A message that the page's socket is made to send so that all before it has come."""
Frames = npt.NDArray[np.uint8]
Message = dict[str, Any]


def plain(*colours: tuple[int, int, int], each: int = 1) -> Frames:
    """Frames of one colour each, every one `each` times."""
    return np.concatenate([np.full((each, HEIGHT, WIDTH, 3), colour, np.uint8) for colour in colours])


_answering: WeakKeyDictionary[Page, Wire | None] = WeakKeyDictionary()
"""Each page that has been routed, with its newest wire."""


def route(page: Page) -> None:
    """Have the sockets that a page opens here answered by its newest `Wire`."""
    if page in _answering:
        return

    def connected(socket: WebSocketRoute) -> None:
        wire = _answering[page]
        assert wire is not None
        wire._connected(socket)

    page.route_web_socket(f"{ORIGIN.replace('http', 'ws')}/ws/play", connected)
    page.add_init_script(KEEP_SOCKETS)  # once more, around the sockets that the route puts in place
    _answering[page] = None


class Wire:
    """The page's other end. Set `on_start` before `open` to answer a `start` in another way."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.received: list[Message] = []
        self.refused: list[str] = []
        """Messages that the real server would not have taken."""
        self.sockets: list[WebSocketRoute] = []
        self.on_start: Callable[[Message], None] = lambda message: self.ready()
        self.on_connect: Callable[[WebSocketRoute], None] = lambda socket: None
        self.deaf = False
        """True while nothing gets through, as in a half-open connection."""
        self.player = "mse"
        self.began = time.monotonic()
        self._index = self._marks = 0
        self._begin_stream()
        route(page)
        _answering[page] = self

    def open(self, query: str = "") -> None:
        """Open the page and wait for its `start`."""
        self.page.goto(f"{ORIGIN}/{query}")
        self.next("start")

    def begin(self, query: str = "", colour: tuple[int, int, int] = GREY) -> None:
        """Open the page and show one picture."""
        self.open(query)
        self.chunk(plain(colour), eager=True)
        first_picture(self.page)

    def ready(self, **changes: Any) -> None:
        """Begin a new stream: `ready` and its init segment."""
        self._begin_stream()
        self.player = next(one for one in reversed(self.received) if one["type"] == "start").get("player", "mse")
        names = ("meadow", "night")
        message = {
            "type": "ready",
            "session": "s",
            "token": "token-1",
            "watch": "watch-1",
            "spectator": False,
            "player": self.player,
            "mime": self.video.mime,
            "codec": self.video.codec,
            "description": base64.b64encode(self.video.description).decode(),
            "width": WIDTH,
            "height": HEIGHT,
            "fps": FPS,
            "frames_per_chunk": 4,
            "seed": 7,
            "world": "fake",
            "scene": "meadow",
            "scenes": [{"name": n, "title": n.title(), "thumbnail": None} for n in names],
            "title": "A pattern",
            "controls": ["keys", "look", "scene"],
            "camera": True,
            "actions": [],
            "events": [],
            "parameters": 11_000_000,
            "window_chunks": 8,
            "resumed": False,
            "index": self._index,
            "limits": limits_of(Settings()).model_dump(),
            "history": None,
            "replay": None,
        }
        pictures = {"mime": "image/jpeg", "codec": None, "description": None} if self.player == "jpeg" else {}
        self.send(**{**message, **pictures, **changes})
        self.sockets[-1].send(b"" if pictures else self.video.init_segment)

    def chunk(
        self, frames: Frames, *, seq: int | None = None, eager: bool = False, lose: bool = False, **changes: Any
    ) -> int:
        """Send frames as the next chunk, or lose its fragment on the way; returns its index."""
        index, self._index = self._index, self._index + 1
        samples = self.encoder.encode(frames)
        fragment = self.writer.fragment(samples)
        parts, keys = [sample.data for sample in samples], [sample.key for sample in samples]
        if self.player == "jpeg":
            parts, keys = [self.jpeg.encode(frame) for frame in frames], [True] * len(frames)
            fragment = b"".join(parts)
        pts, self._frames = self._frames / FPS, self._frames + len(frames)
        if lose:
            return index
        message = {
            "type": "chunk",
            "index": index,
            "parent": index - 1,
            "frames": len(frames),
            "pts": pts,
            "sizes": [len(part) for part in parts],
            "keys": keys,
            "seq": self.seq if seq is None else seq,
            "pose": np.eye(4).tolist(),
            "timings": {"generate": 40.0, "encode": 2.0, "finalize": 8.0, "queue": 1.0},
            "kv_fill": 0.5,
            "scene": "meadow",
            "event": None,
            "state_time": self.time - 0.05,
            "at": self.time,
            "eager": eager,
        }
        self.send(**{**message, **changes})
        self.sockets[-1].send(fragment)
        return index

    @property
    def time(self) -> float:
        """The server's clock in seconds."""
        return time.monotonic() - self.began

    def _begin_stream(self) -> None:
        self.encoder = ChunkEncoder(WIDTH, HEIGHT, FPS)
        self.video = VideoFormat(self.encoder.parameter_sets, WIDTH, HEIGHT, FPS)
        self.writer = FragmentWriter(self.video)
        self.jpeg = JpegEncoder(WIDTH, HEIGHT, 3)
        self._frames = 0

    def send(self, **message: Any) -> None:
        """Send one JSON message on the newest socket."""
        self.sockets[-1].send(json.dumps(message))

    @property
    def seq(self) -> int:
        """The newest `seq` that the page used."""
        return max((message["seq"] for message in self.received), default=0)

    def types(self) -> list[str]:
        """Types of all messages received, in order."""
        return [message["type"] for message in self.received]

    def heard(self, kind: str) -> list[Message]:
        """All messages of a type that the page has sent until now, none left on its way."""
        marks = self._marks
        self.page.evaluate(f"() => window.sockets.at(-1).send('{MARK}')")
        while self._marks == marks:
            self.page.wait_for_timeout(5)
        return [message for message in self.received if message["type"] == kind]

    def next(self, kind: str, after: int = 0) -> Message:
        """The first message of a type, from the `after`-th of all messages on; waits for it."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for message in self.received[after:]:
                if message["type"] == kind:
                    return message
            self.page.wait_for_timeout(10)
        raise AssertionError(f"the page sent no {kind!r}; it sent {self.types()[after:]}")

    def _connected(self, socket: WebSocketRoute) -> None:
        if self.deaf:
            socket.close()
            return
        self.sockets.append(socket)
        socket.on_message(self._message)
        self.on_connect(socket)

    def _message(self, text: str | bytes) -> None:
        if self.deaf:
            return
        if text == MARK:
            self._marks += 1
            return
        try:
            client_messages.parse(str(text))
        except client_messages.ProtocolError as error:
            self.refused.append(f"{text!r}: {error}")
        message = json.loads(text)
        if message["type"] == "ping":
            self.send(type="pong", seq=message["seq"], time=self.time)
            return  # the clock ticks on in every test
        self.received.append(message)
        if message["type"] == "start":
            self.on_start(message)
