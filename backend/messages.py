"""What is said of a chunk on the wire."""

from __future__ import annotations

from backend.dream import Dreamed
from backend.protocol import Chunk
from backend.video.encoder import Fragment


def chunk_message(
    dreamed: Dreamed, fragment: Fragment, encode_ms: float, *, born: float, eager: bool, repeated: bool
) -> Chunk:
    """The message that goes before a fragment.

    Args:
        dreamed: the chunk.
        fragment: its video, or that of its last frame where it is repeated.
        encode_ms: what encoding took in milliseconds.
        born: when the session began, `time.monotonic()`.
        eager: whether it answers an input ahead of what is playing.
        repeated: whether it is shown once more, to a new connection; then no message of that connection shaped it.
    """
    timings = {**dreamed.timings, "encode": encode_ms}
    return Chunk(
        index=dreamed.index,
        frames=fragment.frames,
        pts=fragment.seconds,
        seq=0 if repeated else dreamed.shaping.seq,
        pose=dreamed.shaping.controls.poses[-1].tolist(),
        timings={stage: round(milliseconds, 3) for stage, milliseconds in timings.items()},
        kv_fill=dreamed.kv_fill,
        scene=dreamed.scene,
        state_time=round(dreamed.shaping.at - born, 4),
        eager=eager,
    )
