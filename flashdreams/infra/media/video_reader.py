"""A video file as the control of a dream: its frames one after another, at the size that the model wants."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor

from flashdreams.infra.media.images import covering


class VideoReader:
    """Frames of a video, read when they are asked for; a long video takes no more memory than a short one."""

    def __init__(self, path: Path, height: int, width: int) -> None:
        """Args: the file (anything that FFmpeg reads), and the size in pixels to scale and cut its frames to.

        Raises FileNotFoundError where there is no file, ValueError for one that holds no video.
        """
        self.path = path.expanduser()
        if not self.path.is_file():
            raise FileNotFoundError(f"there is no video at {self.path}")
        self._size = (height, width)
        self.length = self._count()
        """Frames in the file."""
        self._frames = self._decoded()

    def next(self, count: int) -> Tensor:
        """Return the next `count` frames, `[count, 3, height, width]` in [-1, 1].

        Raises ValueError when they have run out.
        """
        frames = list(islice(self._frames, count))
        if len(frames) < count:
            raise ValueError(f"{self.path} has run out of frames: {count} more were wanted, {len(frames)} came")
        return torch.cat(frames)

    def _count(self) -> int:
        try:
            with av.open(os.fspath(self.path)) as file:
                stream = file.streams.video[0]
                return sum(packet.size > 0 for packet in file.demux(stream))
        except (av.FFmpegError, IndexError) as error:
            raise ValueError(f"{self.path} is no video that can be read: give an MP4, WebM or MKV file") from error

    def _decoded(self) -> Iterator[Tensor]:
        with av.open(os.fspath(self.path)) as file:
            file.streams.video[0].thread_type = "AUTO"
            for frame in file.decode(video=0):
                yield covering(frame.to_ndarray(format="rgb24").astype(np.uint8), *self._size)
