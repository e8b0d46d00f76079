"""Steps of several sessions in one pass of the world, where that was measured to be faster on this machine."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from statistics import median
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from backend.clock import Clock, monotonic
from flashdreams.infra.world.base import Controls, Rollout, World

TRIALS = 6
"""Passes that are timed with each number of rows; the first is left out, since buffers and kernels are chosen in it."""
WORTH = 1.05
"""Several rows are taken together where a row is faster by this factor than alone."""
AGAIN_SECONDS = 600.0
"""Seconds after which the times are measured anew: the machine may have other work by then."""

T = TypeVar("T")
log = logging.getLogger(__name__)


class Stepped(NamedTuple):
    """Result of a step."""

    frames: npt.NDArray[np.uint8]
    rows: int
    """Rollouts that were stepped in the same pass, this one included."""


class Row(NamedTuple):
    """Arguments of a step."""

    rollout: Rollout
    controls: Controls
    interrupted: Callable[[], bool] | None = None
    """Becomes true where the step had better begin again with other controls; None: it is made to its end."""


Stepping = Generator[Row, Stepped | None, T]
"""Work with one step of the world in it: yields its arguments, and is sent the result.

It is sent None where the step was interrupted, and yields once more then; that step is made to its end.
"""
Begin = Callable[[], Stepping[T]]
"""Begins such work, on the engine's thread."""


def step_alone(begin: Begin[T], world: World) -> T:
    """Return the result of work whose rollout is stepped by itself. Raises what the work or the world raises."""
    work = begin()
    row = next(work)
    if row.interrupted is not None:
        frames = world.interruptible_step(row.rollout, row.controls, row.interrupted)
        if frames is not None:
            return _finish(work, Stepped(frames, 1))
        row = work.send(None)
    return _finish(work, Stepped(world.step(row.rollout, row.controls), 1))


def step_in_one_pass(works: Sequence[tuple[Begin[Any], Future[Any]]], world: World) -> bool:
    """Step the rollouts of several works in one pass, and set each work's future as soon as its own row is done.

    Work that raises fails its own future; a pass that raises fails those that have no result yet. Returns False then.
    """
    begun: list[tuple[Stepping[Any], Future[Any]]] = []
    rows: list[tuple[Rollout, Controls]] = []
    for begin, future in works:
        if future.set_running_or_notify_cancel():
            work = begin()
            try:
                rows.append(next(work)[:2])
            except Exception as error:
                future.set_exception(error)
            else:
                begun.append((work, future))
    left = dict(enumerate(begun))
    try:
        for number, frames in world.step_together(rows) if rows else ():
            work, future = left.pop(number)
            try:
                future.set_result(
                    _finish(work, frames if isinstance(frames, Exception) else Stepped(frames, len(rows)))
                )
            except Exception as error:
                future.set_exception(error)
        if left:
            raise RuntimeError(f"world {world.config.slug} left out {len(left)} of {len(rows)} rollouts in a pass")
    except Exception as error:
        for work, future in left.values():
            work.close()
            future.set_exception(error)
    return not left


def _finish(work: Stepping[T], result: Stepped | Exception) -> T:
    try:
        work.throw(result) if isinstance(result, Exception) else work.send(result)
    except StopIteration as end:
        value: T = end.value
        return value
    raise RuntimeError("work must end after its step of the world")


class PassTimes:
    """Choice of the number of rows, by the times of passes in play while several rollouts wait to be stepped."""

    def __init__(
        self, mode: Literal["auto", "on", "off"] = "auto", clock: Clock = monotonic, *, lasts: float = math.inf
    ) -> None:
        """Begin without any times.

        Args:
            mode: `auto` takes together what is faster so, `on` all that it can, `off` nothing.
            clock: returns the time.
            lasts: seconds that a pass of more than two rows may take: the answer to a key waits for the present one.
        """
        self._mode, self._clock, self._lasts = mode, clock, lasts
        self._times: dict[int, list[float]] = {}
        """Seconds of a row, by the number of rows."""
        self._no_gain_up_to = 1
        """Most rows that were measured not to be worth it: fewer gain less."""
        self._began = clock()

    def rows(self, waiting: int, most: int) -> int:
        """Return how many of `waiting` rollouts to step in one pass; a world takes `most`."""
        if self._mode == "off" or min(waiting, most) < 2:
            return 1
        if self._clock() - self._began > AGAIN_SECONDS:
            self._times.clear()
            self._no_gain_up_to, self._began = 1, self._clock()
        wanted = min(waiting, most, self._most_in_time())
        if self._mode == "on":
            return wanted
        if wanted <= self._no_gain_up_to:
            return 1
        alone, together = self._measured(1), self._measured(wanted)
        if min(alone, together) <= TRIALS:  # in turns, so that both meet the same other work
            return 1 if alone <= together else wanted
        gain = self._seconds(1) / self._seconds(wanted)
        if gain < WORTH:
            self._no_gain_up_to = wanted
            log.info("%d chunks in one pass gain nothing here (%.2f times): they go one by one", wanted, gain)
            return 1
        return wanted

    def _most_in_time(self) -> int:
        fastest = min((self._seconds(rows) for rows in self._times), default=0.0)
        return max(2, int(min(self._lasts / fastest, 1e6))) if fastest > 0 else 2

    def note(self, rows: int, seconds: float) -> None:
        """Count a pass of `rows` rows, begun while several rollouts waited."""
        times = self._times.setdefault(rows, [])
        if len(times) <= TRIALS:
            times.append(seconds / rows)

    def fail(self) -> None:
        """Take none together any more, after a pass that failed as a whole."""
        self._mode = "off"

    def _measured(self, rows: int) -> int:
        return len(self._times.get(rows, ()))

    def _seconds(self, rows: int) -> float:
        """Median seconds of a row, without the first measured."""
        return median(self._times[rows][1:] or self._times[rows])
