"""What is said of a chunk on the wire, and the bytes that go with it, for each kind of player."""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace

from backend.clock import Clock, monotonic
from backend.engine.rollout import GeneratedChunk
from backend.media.encoder_thread import EncodedFrames
from backend.media.fmp4 import FragmentWriter, VideoFormat
from backend.wire import server_messages

JPEG_MIME = "image/jpeg"


@dataclass(frozen=True)
class EncodedChunk:
    """An encoded chunk with what is known of it."""

    generated: GeneratedChunk
    encoded: EncodedFrames
    urgent: bool
    """Whether it answers an input ahead of what is playing."""
    repeated: bool
    """Whether it is the newest frame once more, for a new connection; then no message of that connection shaped it."""
    created_at: float
    """Time at which the session began."""
    clock: Clock = monotonic

    def urgent_copy(self) -> EncodedChunk:
        """The same, to be jumped to."""
        return replace(self, urgent=True)

    def message(
        self, *, sizes: list[int], keys: list[bool], pts: float, spectator: bool
    ) -> server_messages.ChunkMessage:
        """The message that goes before its media."""
        generated = self.generated
        snapshot, node = generated.snapshot, generated.node
        timings = {**generated.timings, "encode": self.encoded.milliseconds}
        return server_messages.ChunkMessage(
            index=node.index,
            parent=node.parent,
            frames=len(sizes),
            sizes=sizes,
            keys=keys,
            pts=pts,
            seq=0 if self.repeated or spectator else snapshot.seq,
            pose=node.pose.tolist(),
            timings={stage: round(milliseconds, 3) for stage, milliseconds in timings.items()},
            kv_fill=generated.kv_fill,
            scene=node.scene,
            event=node.prompt.event,
            state_time=round(snapshot.at - self.created_at, 4),
            at=round(self.clock() - self.created_at, 4),
            eager=self.urgent,
        )


class MediaClock:
    """One viewer's media time: it begins at 0 and goes on without a gap."""

    def __init__(self, video: VideoFormat, *, jpeg: bool, spectator: bool) -> None:
        """Args: the stream's format; JPEG pictures instead of video; no message of this viewer shapes anything."""
        self._fps = video.fps
        self._writer = FragmentWriter(video)
        self._jpeg, self._spectator = jpeg, spectator
        self.frames = 0
        """Sent so far."""

    def media(self, parcel: EncodedChunk) -> tuple[server_messages.ChunkMessage, bytes]:
        """The next chunk: its message and its binary part."""
        pts, encoded = self.frames / self._fps, parcel.encoded
        if self._jpeg:
            data = b"".join(encoded.jpegs)
            sizes, keys = [len(picture) for picture in encoded.jpegs], [True] * len(encoded.jpegs)
        else:
            data = self._writer.fragment(encoded.samples)
            sizes = [len(sample.data) for sample in encoded.samples]
            keys = [sample.key for sample in encoded.samples]
        self.frames += len(sizes)
        return parcel.message(sizes=sizes, keys=keys, pts=pts, spectator=self._spectator), data


def ready_for_player(
    ready: server_messages.ReadyMessage, video: VideoFormat
) -> tuple[server_messages.ReadyMessage, bytes]:
    """`ready` with what depends on its player filled in, and the init segment."""
    if ready.player == "jpeg":
        return ready.model_copy(update={"mime": JPEG_MIME, "codec": None, "description": None}), b""
    description = base64.b64encode(video.description).decode()
    update = {"mime": video.mime, "codec": video.codec, "description": description}
    return ready.model_copy(update=update), video.init_segment
