"""Growth of a server's memory over its life, once it is warm."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import median_slope, slope_interval

EVERY_SECONDS = 5.0
WARM_SECONDS = 180.0
"""Minutes of warm-up that do not count: weights, kernels, bounded buffers."""
SHORTEST_SECONDS = 180.0
"""A life that goes on for less after that says nothing of an hour."""

Sample = tuple[float, float]
"""Seconds, MiB."""


class Memory:
    """Samples of the resident memory, by process."""

    def __init__(self) -> None:
        self._lives: dict[int, list[Sample]] = {}
        self._next = 0.0

    def note(self, pid: int | None) -> None:
        """Take a sample of a process where one is due."""
        now = time.monotonic()
        if pid is None or now < self._next:
            return
        self._next = now + EVERY_SECONDS
        try:
            pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
        except (OSError, ValueError, IndexError):
            return  # it has just ended
        if pages:  # a process that was killed holds none until it is waited for
            self._lives.setdefault(pid, []).append((now, pages * os.sysconf("SC_PAGE_SIZE") / 2**20))

    def report(self) -> list[dict[str, Any]]:
        """Every life that was long enough to be told."""
        told = [summary_of(life) for life in self._lives.values()]
        return [life for life in told if life is not None]


def summary_of(life: Sequence[Sample]) -> dict[str, Any] | None:
    """First and last MiB of a life after its warm-up, and MiB per hour by the median slope; None if short.

    The slope's 95 % interval takes one value for each minute, since samples of a few seconds are not independent.
    """
    if not life:
        return None
    warm = np.array([sample for sample in life if sample[0] - life[0][0] >= WARM_SECONDS])
    if len(warm) < 3 or warm[-1, 0] - warm[0, 0] < SHORTEST_SECONDS:
        return None
    of_minutes = [part.mean(0) for part in np.split(warm, np.flatnonzero(np.diff(warm[:, 0] // 60)) + 1)]
    interval = slope_interval(*np.transpose(of_minutes))
    return {
        "minutes": round((life[-1][0] - life[0][0]) / 60, 1),
        "first_warm_mib": round(float(warm[0, 1])),
        "last_mib": round(float(warm[-1, 1])),
        "most_mib": round(float(warm[:, 1].max())),
        "mib_per_hour": round(median_slope(warm[:, 0], warm[:, 1]) * 3600, 1),
        "mib_per_hour_95": [round(bound * 3600, 1) for bound in interval],
    }
