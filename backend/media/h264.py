"""A chunk's frames to H.264 samples: libx264 without any delay, with key frames only where chunks begin."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
from av.codec.context import Flags
from av.video.frame import PictureType

from backend.media.fmp4 import Sample, sample_data

GOP_SECONDS = 1.25
"""Longest time between key frames: browsers trim, seek and recover by whole groups of pictures."""
ENCODER = "libx264"
"""FFmpeg's name of the encoder; builds of FFmpeg under the LGPL do not have it."""
QUALITIES = (20, 26, 32, 38)
"""x264's constant rate factor by level, the best first: each level takes about half the bits of the one before."""


def has_encoder() -> bool:
    """Return whether this build of FFmpeg makes H.264; without it, everything is shown as JPEG pictures."""
    return ENCODER in av.codec.codecs_available


class NoEncoder:
    """In place of `ChunkEncoder` where there is no encoder: makes no samples."""

    def want_key_frame(self) -> None:
        """Do nothing: every JPEG picture stands alone."""

    def set_quality(self, level: int) -> None:
        """Do nothing: the pictures have levels of their own."""

    def encode(self, frames: npt.NDArray[np.uint8]) -> list[Sample]:
        """Return no samples."""
        return []


class ChunkEncoder:
    """Encodes one session's stream. Not thread-safe: one thread at a time."""

    def __init__(self, width: int, height: int, fps: int) -> None:
        """Open the encoder for a frame size in even pixels (4:2:0 colour). Raises ValueError for other sizes."""
        if width < 2 or height < 2 or width % 2 or height % 2:
            raise ValueError(f"video size must be even numbers of pixels, got {width} x {height}")
        if fps < 1:
            raise ValueError(f"video fps must be 1 or more, got {fps}")
        self.width, self.height, self.fps = width, height, fps
        self._group = max(1, round(GOP_SECONDS * fps))
        self._codec = _open_codec(width, height, fps, self._group, QUALITIES[0])
        self.parameter_sets = self._codec.extradata or b""
        """SPS and PPS as a byte stream; the same at every quality."""
        self._key_wanted = True
        self._since_key = 0
        self._frames_encoded = 0

    def want_key_frame(self) -> None:
        """Make the next frame one that a player can begin with."""
        self._key_wanted = True

    def set_quality(self, level: int) -> None:
        """Go on at another level of `QUALITIES`, from a key frame on."""
        self._codec = _open_codec(self.width, self.height, self.fps, self._group, QUALITIES[level])
        self._key_wanted = True

    def encode(self, frames: npt.NDArray[np.uint8]) -> list[Sample]:
        """Encode RGB frames `[T, H, W, 3]`, one sample each. Raises ValueError."""
        if frames.ndim != 4 or frames.shape[0] < 1 or frames.shape[1:] != (self.height, self.width, 3):
            raise ValueError(f"frames must be [T, {self.height}, {self.width}, 3], got {list(frames.shape)}")
        if frames.dtype != np.uint8:
            raise ValueError(f"frames must be uint8, got {frames.dtype}")
        # Whoever joins, trims or cuts does it at a chunk: a key frame in the middle of one would help nobody.
        if self._since_key + len(frames) > self._group:
            self._key_wanted = True
        samples = [sample for frame in frames for sample in self._encode_frame(frame)]
        if len(samples) != len(frames):
            raise RuntimeError(f"the video encoder gave {len(samples)} pictures for {len(frames)} frames")
        return samples

    def _encode_frame(self, rgb: npt.NDArray[np.uint8]) -> list[Sample]:
        # The default conversion is BT.601, which the stream is tagged with below. More than one thread would be started
        # anew for every frame, and wait for cores that the model keeps busy.
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
        frame = picture.reformat(format="yuv420p", threads=1)
        frame.pts, frame.time_base = self._frames_encoded, self._codec.time_base
        self._frames_encoded += 1
        if self._key_wanted:
            frame.pict_type = PictureType.I
            self._key_wanted = False
            self._since_key = 0
        self._since_key += 1
        return [Sample(sample_data(bytes(packet)), packet.is_keyframe) for packet in self._codec.encode(frame)]


def _open_codec(width: int, height: int, fps: int, group: int, quality: int) -> av.VideoCodecContext:
    codec = av.CodecContext.create(ENCODER, "w")
    if not isinstance(codec, av.VideoCodecContext):
        raise RuntimeError("libx264 is no video encoder in this build of PyAV")
    codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
    codec.framerate = Fraction(fps)
    codec.time_base = Fraction(1, fps)
    codec.max_b_frames = 0
    # More threads would hold frames back.
    codec.thread_count = 1
    codec.flags |= int(Flags.global_header)
    codec.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "profile": "baseline",
        "crf": str(quality),
        "forced-idr": "1",
        # Stitchable: parameter sets that do not depend on the quality, so that one init segment serves all levels.
        "x264-params": f"scenecut=0:keyint={group}:min-keyint=1:sliced-threads=0:rc-lookahead=0:sync-lookahead=0"
        ":stitchable=1:colorprim=smpte170m:transfer=smpte170m:colormatrix=smpte170m",
    }
    codec.open()
    return codec
