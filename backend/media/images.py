"""Single pictures: JPEG for the picture player, thumbnails and stills, PNG without loss, and uploads made into RGB."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
from av.codec.context import Flags

JPEG_QUALITIES = (3, 6, 11, 18)
"""JPEG quantiser scales by level, the best first."""
THUMBNAIL_WIDTH = 160
"""Pixels."""
MIN_SIDE = 64
MAX_PIXELS = 40_000_000
FORMATS = {"jpeg_pipe": "JPEG", "png_pipe": "PNG", "webp_pipe": "WebP"}
"""What uploads may be, by FFmpeg's names."""

Picture = npt.NDArray[np.uint8]
"""RGB `[H, W, 3]`."""


class JpegEncoder:
    """Makes JPEG files of one size. Not thread-safe: one thread at a time."""

    def __init__(self, width: int, height: int, quantiser: int) -> None:
        """Args: size in pixels; quantiser scale from 2, the best, to 31."""
        self._codec = _open("mjpeg", width, height, "yuvj420p")
        self._codec.options = {"qmin": str(quantiser), "qmax": str(quantiser)}
        self._codec.flags |= int(Flags.qscale)
        self._codec.open()
        self._count = 0

    def encode(self, picture: Picture) -> bytes:
        """The file of a picture, which is scaled where its size is another."""
        codec = self._codec
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24").reformat(
            width=codec.width, height=codec.height, format="yuvj420p", interpolation="AREA", threads=1
        )
        frame.pts, frame.time_base = self._count, codec.time_base
        self._count += 1
        return b"".join(bytes(packet) for packet in codec.encode(frame))


def jpeg(picture: Picture) -> bytes:
    """A JPEG file of good quality."""
    return JpegEncoder(picture.shape[1], picture.shape[0], JPEG_QUALITIES[0] - 1).encode(picture)


def png(picture: Picture) -> bytes:
    """A PNG file: every pixel as it is."""
    codec = _open("png", picture.shape[1], picture.shape[0], "rgb24")
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    frame.pts, frame.time_base = 0, codec.time_base
    return b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])


def thumbnail_size(width: int, height: int) -> tuple[int, int]:
    """Width and height in pixels of a thumbnail of pictures of that size."""
    return THUMBNAIL_WIDTH, max(1, round(THUMBNAIL_WIDTH * height / width))


def read_picture(data: bytes) -> Picture:
    """The picture in an uploaded JPEG, PNG or WebP file. Raises ValueError with one sentence."""
    try:
        with av.open(io.BytesIO(data), "r", options={"probesize": str(max(32, len(data)))}) as container:
            if container.format.name not in FORMATS:
                raise ValueError(f"use {', '.join(FORMATS.values())}, this is {container.format.name}")
            stream = container.streams.video[0]
            if stream.width:
                _check_size(stream.width, stream.height)
            return np.asarray(next(container.decode(stream)).to_ndarray(format="rgb24"), np.uint8)
    except (av.FFmpegError, StopIteration, IndexError):
        raise ValueError(f"it is no whole picture: use {', '.join(FORMATS.values())}") from None


def _check_size(width: int, height: int) -> None:
    if min(width, height) < MIN_SIDE or width * height > MAX_PIXELS:
        raise ValueError(
            f"it has {width} x {height} pixels: each side needs {MIN_SIDE} or more, and both together make"
            f" {MAX_PIXELS // 1_000_000} million at most"
        )


def _open(name: str, width: int, height: int, pixels: str) -> av.VideoCodecContext:
    codec = av.CodecContext.create(name, "w")
    if not isinstance(codec, av.VideoCodecContext):
        raise RuntimeError(f"{name} is no video encoder in this build of PyAV")
    codec.width, codec.height, codec.pix_fmt = width, height, pixels
    codec.time_base = Fraction(1, 24)
    codec.thread_count = 1
    return codec
