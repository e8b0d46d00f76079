"""What is said of a chunk on the wire, and the bytes that go with it, for each kind of player."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass, replace

from backend.engine.rollout import Dreamed
from backend.media.encoder_thread import Encoded
from backend.media.fmp4 import FragmentWriter, VideoFormat
from backend.wire import server_messages

PICTURE_MIME = "image/jpeg"


@dataclass(frozen=True)
class Parcel:
    """An encoded chunk with what is known of it."""

    dreamed: Dreamed
    encoded: Encoded
    eager: bool
    """Whether it answers an input ahead of what is playing."""
    repeated: bool
    """Whether it is the newest frame once more, for a new connection; then no message of that connection shaped it."""
    born: float
    """When the session began, `time.monotonic()`."""

    def hurried(self) -> Parcel:
        """The same, to be jumped to."""
        return replace(self, eager=True)

    def message(self, *, sizes: list[int], keys: list[bool], pts: float, spectator: bool) -> server_messages.Chunk:
        """The message that goes before its media."""
        dreamed = self.dreamed
        shaping, node = dreamed.shaping, dreamed.node
        timings = {**dreamed.timings, "encode": self.encoded.milliseconds}
        return server_messages.Chunk(
            index=node.index,
            parent=node.parent,
            frames=len(sizes),
            sizes=sizes,
            keys=keys,
            pts=pts,
            seq=0 if self.repeated or spectator else shaping.seq,
            pose=node.pose.tolist(),
            timings={stage: round(milliseconds, 3) for stage, milliseconds in timings.items()},
            kv_fill=dreamed.kv_fill,
            scene=node.scene,
            state_time=round(shaping.at - self.born, 4),
            at=round(time.monotonic() - self.born, 4),
            eager=self.eager,
        )


class Timeline:
    """One viewer's media time: it begins at 0 and goes on without a gap."""

    def __init__(self, video: VideoFormat, *, pictures: bool, spectator: bool) -> None:
        """Args: the stream's format; JPEG pictures instead of video; no message of this viewer shapes anything."""
        self._fps = video.fps
        self._writer = FragmentWriter(video)
        self._pictures, self._spectator = pictures, spectator
        self.frames = 0
        """Sent so far."""

    def media(self, parcel: Parcel) -> tuple[server_messages.Chunk, bytes]:
        """The next chunk: its message and its binary part."""
        pts, encoded = self.frames / self._fps, parcel.encoded
        if self._pictures:
            data = b"".join(encoded.pictures)
            sizes, keys = [len(picture) for picture in encoded.pictures], [True] * len(encoded.pictures)
        else:
            data = self._writer.fragment(encoded.samples)
            sizes = [len(sample.data) for sample in encoded.samples]
            keys = [sample.key for sample in encoded.samples]
        self.frames += len(sizes)
        return parcel.message(sizes=sizes, keys=keys, pts=pts, spectator=self._spectator), data


def ready_for_player(ready: server_messages.Ready, video: VideoFormat) -> tuple[server_messages.Ready, bytes]:
    """`ready` with what depends on its player filled in, and the init segment."""
    if ready.player == "jpeg":
        return ready.model_copy(update={"mime": PICTURE_MIME, "codec": None, "description": None}), b""
    description = base64.b64encode(video.description).decode()
    update = {"mime": video.mime, "codec": video.codec, "description": description}
    return ready.model_copy(update=update), video.init_segment
