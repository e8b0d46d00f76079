"""Side stream: work of a rollout beside other work on its GPU, ordered by events."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Self

import torch


class SideStream:
    """Orders one rollout's work on a side stream with the stream that everything else runs on; the host never waits.

    Without a GPU the work is done on the spot. All rollouts of a device share its side stream, so that what one of them
    leaves for all (a kept result, a captured graph) is there for the next.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._ready: torch.cuda.Event | None = None
        self._done: torch.cuda.Event | None = None

    def mark(self) -> None:
        """Record the point that the side stream must wait for."""
        if self.device.type == "cuda":
            self._ready = torch.cuda.current_stream(self.device).record_event()

    @contextmanager
    def work(self) -> Iterator[None]:
        """Queue the work inside on the side stream, after the mark, or after all that is queued if there is none."""
        if self.device.type != "cuda":
            yield
            return
        side = _side_stream(self.device)
        side.wait_event(self._ready or torch.cuda.current_stream(self.device).record_event())
        with torch.cuda.stream(side):
            try:
                yield
            finally:
                self._ready, self._done = None, side.record_event()

    def join(self) -> None:
        """Let work that is queued later wait for the side stream."""
        if self._done is not None:
            torch.cuda.current_stream(self.device).wait_event(self._done)
            self._done = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return a new side stream: a rollout is joined before it is copied."""
        return type(self)(self.device)

    def __del__(self) -> None:
        self.join()  # The rollout's memory is free from here on, for kernels that must not run before the work.


@cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)
