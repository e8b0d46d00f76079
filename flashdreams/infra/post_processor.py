"""The hook for what works on decoded frames as they stream, such as an upscaler: frames in, as many frames out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from flashdreams.infra.config.base import InstantiateConfig

Frames = npt.NDArray[np.uint8]


@dataclass(kw_only=True)
class PostProcessorConfig(InstantiateConfig):
    """Config of a `PostProcessor`; `setup()` loads it."""

    scale: int = 1
    """Height and width of its frames over those of the model."""
    delay: int = 0
    """Frames that it looks ahead: frame `t` leaves when frame `t + delay` has come."""

    def __post_init__(self) -> None:
        if self.scale < 1 or self.delay < 0:
            raise ValueError(f"scale must be 1 or more and delay 0 or more, got {self.scale} and {self.delay}")


class PostProcessor(ABC):
    """Processes the frames of several rollouts, interleaved in any order; all state is in what `begin` returns."""

    config: PostProcessorConfig

    @abstractmethod
    def begin(self, height: int, width: int) -> Any:
        """Return the state of a new rollout with frames of `height` x `width`; `copy_state` must be able to copy it."""

    @abstractmethod
    def process(self, frames: Frames, state: Any) -> Frames:
        """Return as many frames as `frames [T, H, W, 3]`, `[T, scale H, scale W, 3]`.

        Of a rollout's first frames out, `delay` are fillers: frame 0 again.
        """

    def flush(self, state: Any) -> Frames | None:
        """Return the last `delay` frames of a rollout that has ended; None where there is no delay."""
        return None


class ProcessedStream:
    """The frames of one clip, processed, without the fillers and with the frames that the end flushes."""

    def __init__(self, processor: PostProcessor, height: int, width: int) -> None:
        """Begin a clip with frames of `height` x `width` before the processor."""
        self._processor, self._state = processor, processor.begin(height, width)
        self._fillers = processor.config.delay

    def write(self, frames: Frames) -> Frames:
        """Return the frames that are ready. Raises RuntimeError for a processor that keeps or adds frames."""
        processed = process_checked(self._processor, frames, self._state)
        dropped = min(self._fillers, len(processed))
        self._fillers -= dropped
        return processed[dropped:]

    def close(self) -> Frames | None:
        """Return the frames still held; None where there are none. Raises RuntimeError for another number of them."""
        last = self._processor.flush(self._state)
        held, delay = 0 if last is None else len(last), self._processor.config.delay
        if held != delay:
            raise RuntimeError(f"{type(self._processor).__name__}.flush must return {delay} frames, got {held}")
        # A clip shorter than the delay has had fillers alone.
        return None if last is None or self._fillers >= delay > 0 else last[self._fillers :]


def process_checked(processor: PostProcessor, frames: Frames, state: Any) -> Frames:
    """Return the processed frames. Raises RuntimeError for another number, size or type than the contract's."""
    processed = processor.process(frames, state)
    count, height, width, channels = frames.shape
    scale = processor.config.scale
    wanted = (count, scale * height, scale * width, channels)
    if processed.shape != wanted or processed.dtype != np.uint8:
        got = f"{processed.dtype} {processed.shape}"
        raise RuntimeError(f"{type(processor).__name__}.process must return uint8 {wanted}, got {got}")
    return processed
