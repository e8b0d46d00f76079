"""Stage timings of one rollout: CUDA events on a GPU, a monotonic clock elsewhere."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any, Self

import torch

_GIB = 1024**3


class EventProfiler:
    """Measures consecutive stages: each `record(stage)` ends a stage that began at the mark before it.

    The clock starts at construction and at `reset()`; `resume()` starts it again after a pause that is nobody's stage.
    """

    def __init__(self, device: torch.device | str | None = None) -> None:
        """`device`: where the measured work runs; None means the current CUDA device if there is one, else the CPU."""
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._marks: list[tuple[str | None, Any]] = []
        self.resume()

    def reset(self) -> None:
        """Forget all stages and start the clock."""
        self._marks.clear()
        self.resume()

    def resume(self) -> None:
        """Start the clock without ending a stage: the time since the last mark is not counted."""
        self._marks.append((None, self._now()))

    def record(self, stage: str) -> None:
        """End `stage` here. A stage recorded more than once adds up."""
        self._marks.append((stage, self._now()))

    def elapsed_ms(self) -> dict[str, float]:
        """Return the milliseconds of each recorded stage, in order. On a GPU it waits for all recorded events."""
        if self.device.type == "cuda":
            for _, mark in self._marks:  # marks of a side stream may be reached before or after the others
                mark.synchronize()
        elapsed: dict[str, float] = {}
        for (_, begin), (stage, end) in pairwise(self._marks):
            if stage is not None:
                elapsed[stage] = elapsed.get(stage, 0.0) + self._between(begin, end)
        return elapsed

    def sync_and_summarize(self) -> dict[str, float]:
        """Wait for the device and return the milliseconds of each stage, in order."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return self.elapsed_ms()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return a fresh profiler of the same device: measured time is no part of a rollout's state."""
        return type(self)(self.device)

    def __reduce__(self) -> tuple[type[Self], tuple[torch.device]]:
        return type(self), (self.device,)  # as a copy: a GPU's events cannot leave their process

    def _now(self) -> Any:
        if self.device.type != "cuda":
            return time.perf_counter_ns()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event

    def _between(self, begin: Any, end: Any) -> float:
        return float(begin.elapsed_time(end)) if self.device.type == "cuda" else (end - begin) / 1e6


def record_event(profiler: EventProfiler | None, stage: str) -> None:
    """Return `profiler.record(stage)` if there is a profiler."""
    if profiler is not None:
        profiler.record(stage)


def profile_of(profiler: EventProfiler) -> dict[str, float]:
    """Return `<stage>_ms` of each stage, `total_ms`, `total_ms_wo_finalize`, and on a GPU its memory in GiB."""
    elapsed = profiler.sync_and_summarize()
    total = sum(elapsed.values())
    profile = {f"{stage}_ms": ms for stage, ms in elapsed.items()}
    profile |= {"total_ms": total, "total_ms_wo_finalize": total - elapsed.get("finalize", 0.0)}
    if profiler.device.type == "cuda":
        profile |= {
            "mem_alloc_gib": torch.cuda.memory_allocated(profiler.device) / _GIB,
            "mem_reserved_gib": torch.cuda.memory_reserved(profiler.device) / _GIB,
            "mem_peak_gib": torch.cuda.max_memory_allocated(profiler.device) / _GIB,
        }
    return profile
