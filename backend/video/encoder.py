"""A chunk's frames to one MP4 fragment: libx264 without any delay, then the fragment writer."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
from av.codec.context import Flags
from av.video.frame import PictureType

from backend.video.mp4 import FragmentWriter

GOP_SECONDS = 1.25
"""Longest time between key frames: browsers trim, seek and recover by whole groups of pictures."""
QUALITY = 20
"""x264's constant rate factor: lower is better and larger."""


@dataclass(frozen=True)
class Fragment:
    """One encoded chunk."""

    data: bytes
    """`moof` + `mdat`."""
    seconds: float
    """Media time at which it begins."""
    frames: int
    """How many frames it shows."""


class ChunkEncoder:
    """Encodes one visitor's stream. Not thread-safe: one thread at a time."""

    def __init__(self, width: int, height: int, fps: int) -> None:
        """Args: picture size in pixels, both even (4:2:0 colour), and frames per second. Raises ValueError."""
        if width < 2 or height < 2 or width % 2 or height % 2:
            raise ValueError(f"video size must be even numbers of pixels, got {width} x {height}")
        if fps < 1:
            raise ValueError(f"video fps must be 1 or more, got {fps}")
        self.width, self.height = width, height
        self._codec = _open_codec(width, height, fps)
        self._writer = FragmentWriter(self._codec.extradata or b"", width, height, fps)
        self._key_wanted = True
        self._frames_encoded = 0

    @property
    def mime(self) -> str:
        """Exact MIME type with the codec string of this stream."""
        return self._writer.mime

    @property
    def init_segment(self) -> bytes:
        """What a player must get before the first fragment."""
        return self._writer.init_segment

    def want_key_frame(self) -> None:
        """Make the next frame one that a player can begin with."""
        self._key_wanted = True

    def encode(self, frames: npt.NDArray[np.uint8]) -> Fragment:
        """Encode RGB frames `[T, H, W, 3]`; every one of them is in the fragment. Raises ValueError."""
        if frames.ndim != 4 or frames.shape[0] < 1 or frames.shape[1:] != (self.height, self.width, 3):
            raise ValueError(f"frames must be [T, {self.height}, {self.width}, 3], got {list(frames.shape)}")
        if frames.dtype != np.uint8:
            raise ValueError(f"frames must be uint8, got {frames.dtype}")
        seconds = self._writer.seconds
        units = [unit for frame in frames for unit in self._encode_frame(frame)]
        if len(units) != len(frames):
            raise RuntimeError(f"the video encoder gave {len(units)} pictures for {len(frames)} frames")
        return Fragment(self._writer.fragment(units), seconds, len(units))

    def _encode_frame(self, rgb: npt.NDArray[np.uint8]) -> list[tuple[bytes, bool]]:
        # The default conversion is BT.601, which the stream is tagged with below. More than one thread would be started
        # anew for every frame, and wait for cores that the model keeps busy.
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
        frame = picture.reformat(format="yuv420p", threads=1)
        frame.pts, frame.time_base = self._frames_encoded, self._codec.time_base
        self._frames_encoded += 1
        if self._key_wanted:
            frame.pict_type = PictureType.I
            self._key_wanted = False
        return [(bytes(packet), packet.is_keyframe) for packet in self._codec.encode(frame)]


def _open_codec(width: int, height: int, fps: int) -> av.VideoCodecContext:
    codec = av.CodecContext.create("libx264", "w")
    if not isinstance(codec, av.VideoCodecContext):
        raise RuntimeError("libx264 is no video encoder in this build of PyAV")
    codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
    codec.framerate = Fraction(fps)
    codec.time_base = Fraction(1, fps)
    codec.max_b_frames = 0
    # More threads would hold frames back.
    codec.thread_count = 1
    codec.flags |= int(Flags.global_header)
    group = max(1, round(GOP_SECONDS * fps))
    codec.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "profile": "baseline",
        "crf": str(QUALITY),
        "forced-idr": "1",
        "x264-params": f"scenecut=0:keyint={group}:min-keyint=1:sliced-threads=0:rc-lookahead=0:sync-lookahead=0"
        ":colorprim=smpte170m:transfer=smpte170m:colormatrix=smpte170m",
    }
    codec.open()
    return codec
