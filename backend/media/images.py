"""Single pictures: JPEG for the picture player, thumbnails and stills, PNG without loss, and uploads made into RGB."""

from __future__ import annotations

import struct
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
MAX_DECODED_BYTES = 64 * 1024 * 1024
"""Of a PNG or WebP before it is scaled; a JPEG is scaled while it is decoded."""
MAX_KEPT_PIXELS = 4_000_000
"""Pixels that are kept of an upload: far more than any world shows."""
FORMATS = {"mjpeg": "JPEG", "png": "PNG", "webp": "WebP"}
"""Accepted kinds of uploads, by the names of FFmpeg's decoders."""

Picture = npt.NDArray[np.uint8]
"""RGB `[H, W, 3]`."""


class JpegEncoder:
    """Makes JPEG files of one size. Not thread-safe: one thread at a time."""

    def __init__(self, width: int, height: int, quantiser: int) -> None:
        """Open an encoder. Args: size in pixels; quantiser scale from 2, the best, to 31."""
        self._codec = _open("mjpeg", width, height, "yuvj420p")
        self._codec.options = {"qmin": str(quantiser), "qmax": str(quantiser)}
        self._codec.flags |= int(Flags.qscale)
        self._codec.open()
        self._count = 0

    def encode(self, picture: Picture) -> bytes:
        """Encode an image, scaled to the encoder's size."""
        codec = self._codec
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24").reformat(
            width=codec.width, height=codec.height, format="yuvj420p", interpolation="AREA", threads=1
        )
        frame.pts, frame.time_base = self._count, codec.time_base
        self._count += 1
        return b"".join(bytes(packet) for packet in codec.encode(frame))


def jpeg(picture: Picture) -> bytes:
    """Return a JPEG file of good quality."""
    return JpegEncoder(picture.shape[1], picture.shape[0], JPEG_QUALITIES[0] - 1).encode(picture)


def png(picture: Picture) -> bytes:
    """Return a PNG file, which is lossless, of red, green and blue, and opacity where there is a fourth channel."""
    pixels = "rgba" if picture.shape[2] == 4 else "rgb24"
    codec = _open("png", picture.shape[1], picture.shape[0], pixels)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format=pixels)
    frame.pts, frame.time_base = 0, codec.time_base
    return b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])


def thumbnail_size(width: int, height: int) -> tuple[int, int]:
    """Return width and height in pixels of the thumbnail of an image of that size."""
    return THUMBNAIL_WIDTH, max(1, round(THUMBNAIL_WIDTH * height / width))


def read_picture(data: bytes) -> Picture:
    """Return the picture in an uploaded JPEG, PNG or WebP file, scaled to at most `MAX_KEPT_PIXELS`.

    The kind is found by the first bytes, and only that kind's decoder sees the file: no demuxer, no protocol. Raises
    ValueError with one sentence.
    """
    kind, width, height, bits = picture_header(data)
    _check_size(width, height)
    shrink = 0
    if kind == "mjpeg":  # its decoder can leave out what a smaller picture does not need
        while shrink < 3 and (width * height) >> (2 * shrink + 2) >= MAX_KEPT_PIXELS:
            shrink += 1
    elif width * height * bits // 8 > MAX_DECODED_BYTES:
        raise ValueError(f"it has {width} x {height} pixels of {bits} bits: {_too_large()}")
    decoder = av.CodecContext.create(kind, "r")
    if not isinstance(decoder, av.VideoCodecContext):
        raise RuntimeError(f"{kind} is no video decoder in this build of PyAV")
    decoder.thread_count = 1
    if shrink:
        decoder.options = {"lowres": str(shrink)}
    try:
        frame = next(iter([*decoder.decode(av.Packet(data)), *decoder.decode(None)]))
    except (av.FFmpegError, StopIteration, ValueError):
        raise ValueError(f"it is no whole picture: use {', '.join(FORMATS.values())}") from None
    if frame.width * frame.height > max(MAX_KEPT_PIXELS, 4 * MIN_SIDE**2) * 4:
        _check_size(frame.width, frame.height)
    scale = min(1.0, (MAX_KEPT_PIXELS / (frame.width * frame.height)) ** 0.5)
    size = {"width": max(1, round(frame.width * scale)), "height": max(1, round(frame.height * scale))}
    return np.asarray(frame.reformat(**size, format="rgb24", interpolation="AREA", threads=1).to_ndarray(), np.uint8)


def picture_header(data: bytes) -> tuple[str, int, int, int]:
    """Return a picture's decoder, width, height and bits a pixel, from its first bytes.

    Raises ValueError for what is no JPEG, PNG or WebP, naming what it is where that is known.
    """
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
            return "png", width, height, depth * {0: 1, 2: 3, 3: 4, 4: 2, 6: 4}.get(colour, 4)
        if data.startswith(b"\xff\xd8\xff"):
            return "mjpeg", *_jpeg_size(data), 24
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return "webp", *_webp_size(data), 32
    except (struct.error, IndexError):
        raise ValueError(f"it is no whole picture: use {', '.join(FORMATS.values())}") from None
    known = next((name for start, name in _OTHERS if data.startswith(start)), None)
    if data[4:8] == b"ftyp":
        known = "HEIF or a video"
    if known is None:
        raise ValueError(f"it is no whole picture: use {', '.join(FORMATS.values())}")
    raise ValueError(f"use {', '.join(FORMATS.values())}, this is {known}")


_OTHERS = ((b"GIF8", "gif"), (b"BM", "bmp"), (b"II*\0", "tiff"), (b"MM\0*", "tiff"), (b"%PDF", "pdf"), (b"<svg", "svg"))


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Return width and height of a JPEG's frame header. Raises IndexError or struct.error where it has none."""
    place = 2
    while True:
        while data[place] != 0xFF:
            place += 1
        while data[place] == 0xFF:
            place += 1
        marker = data[place]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[place + 4 : place + 8])
            return width, height
        if marker in (0xD9, 0xDA):
            raise IndexError
        alone = marker == 0x01 or 0xD0 <= marker <= 0xD8
        place += 1 if alone else 1 + struct.unpack(">H", data[place + 1 : place + 3])[0]


def _webp_size(data: bytes) -> tuple[int, int]:
    """Return width and height of a WebP's first chunk. Raises IndexError or struct.error where it is cut short."""
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        (packed,) = struct.unpack("<I", data[21:25])
        return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1 + 0 * data[29], int.from_bytes(data[27:30], "little") + 1
    raise IndexError


def _too_large() -> str:
    return f"unpacked, a picture may take {MAX_DECODED_BYTES >> 20} MiB"


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
