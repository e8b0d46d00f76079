"""One session's video: a thread of its own encodes chunks as samples and JPEG images, in order."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from backend.media.fmp4 import PictureFormat, Sample, VideoFormat
from backend.media.h264 import ChunkEncoder, NoEncoder, has_encoder
from backend.media.images import JPEG_QUALITIES, JpegEncoder


@dataclass(frozen=True)
class EncodedFrames:
    """A chunk's frames, ready to be sent."""

    samples: list[Sample]
    """H.264."""
    jpegs: list[bytes]
    """JPEG files; empty where nobody needs them."""
    milliseconds: float
    """Milliseconds that encoding took."""

    @property
    def key(self) -> bool:
        """True if a player can begin with it."""
        return not self.samples or self.samples[0].key


class EncoderThread:
    """Encodes beside the model and the event loop."""

    def __init__(self, width: int, height: int, fps: int) -> None:
        """Open an encoder, which takes some milliseconds. Raises ValueError for a size that cannot be encoded."""
        self._encoder: ChunkEncoder | NoEncoder
        self.format: VideoFormat
        if has_encoder():
            self._encoder = encoder = ChunkEncoder(width, height, fps)
            self.format = VideoFormat(encoder.parameter_sets, width, height, fps)
        else:
            self._encoder, self.format = NoEncoder(), PictureFormat(width, height, fps)
        self._jpeg = [JpegEncoder(width, height, quantiser) for quantiser in JPEG_QUALITIES]
        self._level = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="video")
        self.wants_jpeg = False
        """True if a connected player shows JPEG images."""

    def encode(
        self,
        frames: npt.NDArray[np.uint8],
        done: Callable[[EncodedFrames], None],
        failed: Callable[[BaseException], None],
        *,
        key: bool = False,
    ) -> None:
        """Encode a chunk `[T, H, W, 3]` soon, from a key frame on if `key`; then `done` or `failed` on that thread."""

        def work() -> None:
            began = time.perf_counter()
            try:
                if key:
                    self._encoder.want_key_frame()
                samples = self._encoder.encode(frames)
                jpegs = [self._jpeg[self._level].encode(frame) for frame in frames] if self.wants_jpeg else []
            except Exception as error:
                failed(error)
            else:
                done(EncodedFrames(samples, jpegs, (time.perf_counter() - began) * 1e3))

        self.submit(work)

    def encode_jpegs(self, frames: npt.NDArray[np.uint8], done: Callable[[list[bytes]], None]) -> None:
        """Encode frames `[T, H, W, 3]` as JPEG only, beside the stream; then `done` on that thread."""
        self.submit(lambda: done([self._jpeg[self._level].encode(frame) for frame in frames]))

    def want_key_frame(self) -> None:
        """Begin the next chunk with a key frame."""
        self.submit(self._encoder.want_key_frame)

    def set_quality(self, level: int) -> None:
        """Encode the next chunks at another quality level; 0 is the best."""

        def work() -> None:
            self._level = level
            self._encoder.set_quality(level)

        self.submit(work)

    def close(self) -> None:
        """Take no more work; what was handed in is still done, and the encoders' memory is given up after it."""
        self.submit(self._release)
        self._thread.shutdown(wait=False)

    def _release(self) -> None:
        del self._encoder, self._jpeg

    def submit(self, work: Callable[[], None]) -> bool:
        """Have something done on the video's thread, after what was handed in before; not where it is closed."""
        # Closed means that its session is over, and nobody waits for it.
        with contextlib.suppress(RuntimeError):
            self._thread.submit(work)
            return True
        return False
