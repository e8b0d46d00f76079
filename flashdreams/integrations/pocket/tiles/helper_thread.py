"""A thread beside the one that draws, for work whose result is needed a little later."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch

from flashdreams.threads import available_cores

T = TypeVar("T")


class HelperThread:
    """One thread for short work without gradients. The results are the same as without it."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        if available_cores() > 1:
            self._pool = ThreadPoolExecutor(1, "helper", torch.set_num_threads, (1,))  # on one core

    def begin(self, work: Callable[[], T]) -> Callable[[], T]:
        """Begin `work`, and return a function that returns its result.

        Where the thread has not come to it by then, because other programs keep the cores, the caller does it.
        """
        if self._pool is None:
            return cache(work)
        future = self._pool.submit(torch.inference_mode()(work))
        return cache(lambda: work() if future.cancel() else future.result())
