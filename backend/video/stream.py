"""One connection's video: a thread of its own turns dreamed chunks into fragments, in their order."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from backend.video.encoder import ChunkEncoder, Fragment


class VideoStream:
    """Encodes beside the model and the event loop. Decode times begin at 0, the first frame is a key frame."""

    def __init__(self, width: int, height: int, fps: int) -> None:
        """Opens an encoder; takes some milliseconds. Raises ValueError for a size that cannot be encoded."""
        self._encoder = ChunkEncoder(width, height, fps)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="video")
        self.mime = self._encoder.mime
        self.init_segment = self._encoder.init_segment

    def encode(
        self,
        frames: npt.NDArray[np.uint8],
        done: Callable[[Fragment, float], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """Encode a chunk `[T, H, W, 3]` soon; then `done(fragment, milliseconds)` or `failed(error)` on that thread."""

        def work() -> None:
            began = time.perf_counter()
            try:
                fragment = self._encoder.encode(frames)
            except Exception as error:
                failed(error)
            else:
                done(fragment, (time.perf_counter() - began) * 1e3)

        self._submit(work)

    def want_key_frame(self) -> None:
        """The next chunk handed in begins with a key frame."""
        self._submit(self._encoder.want_key_frame)

    def close(self) -> None:
        """Take no more chunks; what was handed in is still encoded."""
        self._thread.shutdown(wait=False)

    def _submit(self, work: Callable[[], None]) -> None:
        # Closed means that its connection is gone, and nobody waits for the chunk.
        with contextlib.suppress(RuntimeError):
            self._thread.submit(work)
