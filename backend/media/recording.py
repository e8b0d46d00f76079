"""The newest minutes of a stream, kept as they were sent, and as an MP4 file without another encode."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from backend.media import mp4_boxes
from backend.media.fmp4 import Sample, VideoFormat

MDAT_HEADER = 8
LARGEST_FILE = 2**32 - 1


class Recording:
    """A ring of groups of pictures: each begins with a key frame. Safe to use from several threads."""

    def __init__(self, video: VideoFormat, max_seconds: float, max_bytes: int) -> None:
        """Keep the newest video within both limits, none if a limit is 0."""
        self._format = video
        self._max_frames = round(max_seconds * video.fps)
        self._max_bytes = min(max_bytes, LARGEST_FILE // 2)
        self._groups: deque[list[Sample]] = deque()
        self._lock = threading.Lock()
        self.bytes = 0
        """Memory that the samples take."""
        self.frames = 0

    @property
    def seconds(self) -> float:
        """Length of what is kept."""
        return self.frames / self._format.fps

    def add(self, samples: Sequence[Sample]) -> None:
        """Keep a chunk, and drop the oldest groups that are too many now; one without video leaves nothing."""
        if not samples:
            return
        with self._lock:
            if samples[0].key:
                self._groups.append([])
            elif not self._groups:
                return  # it leans on a picture that is gone
            self._groups[-1].extend(samples)
            self._count(samples, 1)
            while self._groups and (self.frames > self._max_frames or self.bytes > self._max_bytes):
                self._count(self._groups.popleft(), -1)

    def _count(self, samples: Sequence[Sample], sign: int) -> None:
        self.frames += sign * len(samples)
        self.bytes += sign * sum(len(sample.data) for sample in samples)

    def groups(self) -> list[list[Sample]]:
        """Return the fragments that are kept, group by group, oldest first."""
        with self._lock:
            return [list(group) for group in self._groups]

    def mp4(self, seconds: float | None = None) -> bytes:
        """Return a file of all that is kept, or of the last `seconds` and what is before them up to a key frame.

        Raises LookupError where nothing is kept.
        """
        with self._lock:
            groups: list[list[Sample]] = []
            frames = 0
            for group in reversed(self._groups):
                if seconds is not None and frames >= seconds * self._format.fps:
                    break
                groups.append(list(group))
                frames += len(group)
        if not groups:
            raise LookupError("nothing is recorded yet")
        return movie_file(self._format, [sample for group in reversed(groups) for sample in group])


def movie_file(video: VideoFormat, samples: Sequence[Sample]) -> bytes:
    """Return a plain MP4 file with its index first, so that players can seek in it."""
    duration = video.frame_duration

    def head(offset: int) -> bytes:
        tables = mp4_boxes.sample_tables(samples, duration, offset)
        return mp4_boxes.file_type() + mp4_boxes.movie(
            video.width,
            video.height,
            video.timescale,
            video.sps,
            video.pps,
            duration=duration * len(samples),
            tables=tables,
        )

    return head(len(head(0)) + MDAT_HEADER) + mp4_boxes.box(b"mdat", *(sample.data for sample in samples))
