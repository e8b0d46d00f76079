"""Writes frames to an MP4 file that any player opens: H.264, the index in front, never half a file."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import ColorPrimaries, ColorRange, ColorTrc

QUALITY = 16
"""x264's constant rate factor: lower is better and larger."""
SMPTE170M_MATRIX = 6
"""The colour matrix of BT.601 as H.264 numbers it; PyAV's own names are those of its converter."""


class Mp4File:
    """A video being written, used in a `with` block: the file appears when the block ends well, and only then."""

    def __init__(self, path: Path, width: int, height: int, fps: int, comment: str = "") -> None:
        """Args: picture size in pixels, both even, frames per second, and a comment for the file's metadata.

        Raises ValueError for an odd size, OSError where the folder cannot be written to.
        """
        if width < 2 or height < 2 or width % 2 or height % 2:
            raise ValueError(f"video size must be even numbers of pixels, got {width} x {height}")
        self.path, self.width, self.height, self.frames = path, width, height, 0
        self._draft = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            # The muxer's own answer to a folder that cannot be written to says neither which nor why.
            self._draft.touch()
        except OSError as error:
            raise OSError(f"cannot write to the folder {path.parent}: {error.strerror}") from error
        self._container = av.open(str(self._draft), "w", format="mp4", options={"movflags": "+faststart"})
        self._container.metadata["comment"] = comment
        # With AVX-512, x264's macroblock tree reads memory that nobody wrote: the same frames gave different files.
        options = {"preset": "medium", "crf": str(QUALITY), "x264-params": "mbtree=0"}
        self._stream = self._container.add_stream("libx264", rate=fps, options=options)
        _describe(self._stream.codec_context, width, height)

    def write(self, frames: npt.NDArray[np.uint8]) -> None:
        """Append RGB frames `[T, H, W, 3]`. Raises ValueError for another shape or type."""
        if frames.ndim != 4 or frames.shape[1:] != (self.height, self.width, 3) or frames.dtype != np.uint8:
            wanted = f"uint8 [T, {self.height}, {self.width}, 3]"
            raise ValueError(f"frames must be {wanted}, got {frames.dtype} {list(frames.shape)}")
        for rgb in frames:
            # The default conversion is BT.601, which the stream is tagged with below.
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24").reformat(format="yuv420p")
            picture.pts = self.frames
            self._container.mux(self._stream.encode(picture))
            self.frames += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._container.mux(self._stream.encode(None))
            self._container.close()
            if kind is None:
                self._draft.replace(self.path)
        finally:
            self._draft.unlink(missing_ok=True)


def writable_mp4(path: Path) -> Path:
    """Return `path`, its folder made; raises ValueError or OSError where no MP4 can be written there."""
    path = path.expanduser()
    if path.suffix.lower() != ".mp4" or path.is_dir():
        raise ValueError(f"output must be a file that ends in .mp4, got {path}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"cannot make the folder {path.parent} for the output: {error.strerror}") from error
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise PermissionError(f"cannot write to the folder {path.parent}: choose another --output")
    return path


def _describe(codec: av.VideoCodecContext, width: int, height: int) -> None:
    """Set size, pixel format, colours, and one thread: pictures this small gain nothing from more."""
    codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
    codec.color_range = ColorRange.MPEG
    codec.color_primaries, codec.color_trc = ColorPrimaries.SMPTE170M, ColorTrc.SMPTE170M
    codec.colorspace = SMPTE170M_MATRIX
    codec.thread_count = 1
