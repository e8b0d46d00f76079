"""Chunk messages and their media, for each kind of player."""

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
    """An encoded chunk with its metadata."""

    generated: GeneratedChunk
    encoded: EncodedFrames
    urgent: bool
    """True if it answers an input ahead of what is playing."""
    repeated: bool
    """True for the frame sent again to a new connection (its `seq` is 0)."""
    created_at: float
    """Time at which the session began."""
    clock: Clock = monotonic

    def urgent_copy(self) -> EncodedChunk:
        """Return a copy that the player skips to."""
        return replace(self, urgent=True)

    def message(
        self, *, sizes: list[int], keys: list[bool], pts: float, spectator: bool
    ) -> server_messages.ChunkMessage:
        """Return the message that precedes its media."""
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
            changes=len(node.controls.changes),
            rows=node.rows,
        )


class MediaClock:
    """Media time of one viewer: it begins at 0 and has no gaps."""

    def __init__(self, video: VideoFormat, *, jpeg: bool, spectator: bool) -> None:
        """Args: the stream's format; `jpeg` for JPEG images instead of video; `spectator` for one without input."""
        self._fps = video.fps
        self._writer = FragmentWriter(video)
        self._jpeg, self._spectator = jpeg, spectator
        self.frames = 0
        """Frames sent so far."""

    def media(self, chunk: EncodedChunk) -> tuple[server_messages.ChunkMessage, bytes]:
        """Return message and media of the next chunk."""
        pts, encoded = self.frames / self._fps, chunk.encoded
        if self._jpeg:
            data = b"".join(encoded.jpegs)
            sizes, keys = [len(picture) for picture in encoded.jpegs], [True] * len(encoded.jpegs)
        else:
            data = self._writer.fragment(encoded.samples)
            sizes = [len(sample.data) for sample in encoded.samples]
            keys = [sample.key for sample in encoded.samples]
        self.frames += len(sizes)
        return chunk.message(sizes=sizes, keys=keys, pts=pts, spectator=self._spectator), data


def ready_for_player(
    ready: server_messages.ReadyMessage, video: VideoFormat
) -> tuple[server_messages.ReadyMessage, bytes]:
    """Return `ready` with the fields that depend on its player, and the init segment."""
    if ready.player == "jpeg":
        return ready.model_copy(update={"mime": JPEG_MIME, "codec": None, "description": None}), b""
    description = base64.b64encode(video.description).decode()
    update = {"mime": video.mime, "codec": video.codec, "description": description}
    return ready.model_copy(update=update), video.init_segment
