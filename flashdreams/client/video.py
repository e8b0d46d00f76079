"""H.264 samples or JPEG pictures of the stream to RGB frames, with PyAV."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import av
import numpy as np
import numpy.typing as npt
from av.codec.context import Flags

Frames = npt.NDArray[np.uint8]


class FrameDecoder:
    """Decodes one stream, chunk by chunk; every frame comes out with the sample that it went in with."""

    def __init__(self, description: str | None) -> None:
        """Args: `description`: the stream's avcC record in base64, as `ready` has it; None for JPEG pictures."""
        codec = av.CodecContext.create("mjpeg" if description is None else "h264", "r")
        assert isinstance(codec, av.VideoCodecContext)
        if description is not None:
            codec.extradata = base64.b64decode(description)
        codec.thread_count = 1  # more would hold frames back
        codec.flags |= int(Flags.low_delay)
        self._codec = codec

    def decode(self, media: bytes, sizes: Sequence[int]) -> Frames:
        """Return RGB frames `[T, H, W, 3]` of a chunk, whose `T` samples of `sizes` bytes are the end of `media`.

        Raises ValueError where the bytes are not what the message said.
        """
        if sum(sizes) > len(media):
            raise ValueError(f"the chunk's video has {len(media)} bytes, its frames should have {sum(sizes)}")
        begin, frames = len(media) - sum(sizes), []
        for size in sizes:
            packet = av.Packet(media[begin : begin + size])
            begin += size
            try:
                frames += [frame.to_ndarray(format="rgb24") for frame in self._codec.decode(packet)]
            except av.FFmpegError as error:
                raise ValueError(f"the chunk's video cannot be decoded: {error}") from error
        if len(frames) != len(sizes):
            raise ValueError(f"the chunk's video gave {len(frames)} frames for {len(sizes)} samples")
        return np.stack(frames)
