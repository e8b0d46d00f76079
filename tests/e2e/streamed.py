"""Frames that a page got over its socket, and frames that it shows."""

from __future__ import annotations

import io
import json
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from playwright.sync_api import Page, WebSocket

Frames = npt.NDArray[np.uint8]


class Streamed:
    """Listens to a page's sockets from its opening on."""

    def __init__(self, page: Page) -> None:
        self.init = b""
        self.chunks: list[tuple[dict[str, Any], bytes]] = []
        self.sent: list[dict[str, Any]] = []
        self._pending_message: dict[str, Any] | None = None
        page.on("websocket", self._opened)

    def _opened(self, socket: WebSocket) -> None:
        socket.on("framereceived", self._received)
        socket.on("framesent", lambda text: self.sent.append(json.loads(text)))

    def _received(self, payload: str | bytes) -> None:
        if isinstance(payload, str):
            message = json.loads(payload)
            if message["type"] == "chunk":
                self._pending_message = message
        elif self._pending_message is None:
            self.init, self.chunks = payload, []
        else:
            self.chunks.append((self._pending_message, payload))
            self._pending_message = None

    def frames(self) -> Frames:
        """Every frame of the newest stream `[N, H, W, 3]`, decoded."""
        return decoded(self.init + b"".join(fragment for _, fragment in self.chunks))


def decoded(video: bytes) -> Frames:
    """All frames of a video file `[N, H, W, 3]`."""
    with av.open(io.BytesIO(video)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
