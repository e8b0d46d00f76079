"""The engine: one thread that owns the loaded model and runs the jobs of all sessions on it, most urgent first."""

from __future__ import annotations

import itertools
import logging
import sys
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import partial
from typing import Any, Literal, TypeVar

from backend.clock import Clock, monotonic
from backend.engine.fair_share import FairShare
from backend.engine.passes import Begin, PassTimes, step_alone, step_in_one_pass
from flashdreams.infra.world.base import World, WorldConfig

SWITCH_SECONDS = 0.00005
"""Time after which a busy thread makes room for another, where Python's own is 5 ms: the engine's thread asks for the
interpreter a thousand times a chunk, and would wait so long each time."""
REST_SECONDS = 0.5
"""Seconds without work after which the world may do its upkeep: longer than the gaps between the chunks of a walk."""

TOGETHER_SECONDS = 0.25
"""Steps whose deadlines lie this close may share a pass: the answer to a key, which goes before all that is late by up
to a second, waits for no other than such answers."""

T = TypeVar("T")
log = logging.getLogger(__name__)


class Priority(IntEnum):
    """Priority of a job; it counts before the deadline."""

    GENERATE = 0
    """A visitor waits for it: generate a chunk, start, rewind."""
    FINALIZE = 1
    """It can wait for a gap: finalize."""


class EngineStopped(RuntimeError):
    """The engine takes no more work."""


@dataclass(frozen=True)
class LoadStage:
    """Progress of loading the model."""

    name: str
    fraction: float


@dataclass(frozen=True)
class _Job:
    priority: Priority
    deadline: float
    order: int
    owner: Hashable
    work: Callable[[World], Any]
    result: Future[Any]
    step: Begin[Any] | None = None
    """The same as work with one step, which can be made in one pass with others; None for other work."""


class Engine:
    """Loads a world in its own thread, then runs jobs on it: `GENERATE` before `FINALIZE`, earliest deadline first.

    Where owners of jobs compete, each gets its share of the time: deadlines count among those who have not had more
    than the others. A job that raises fails its own future and nothing else. All methods may be called from any thread.
    """

    def __init__(
        self, config: WorldConfig, clock: Clock = monotonic, *, together: Literal["auto", "on", "off"] = "off"
    ) -> None:
        """Args: `together` says whether steps of several sessions are made in one pass, see `PassTimes`."""
        self.config, self._clock = config, clock
        self._passes, self._timed = PassTimes(together, clock, lasts=config.frames_per_chunk / config.fps), False
        self.stage = LoadStage("starting", 0.0)
        self.world: Future[World] = Future()
        """Resolves to the loaded world, or to what went wrong while loading it."""
        self._jobs: list[_Job] = []
        self._order = itertools.count()
        self._fair_share = FairShare()
        self._changed = threading.Condition()
        self._stopped = False
        self._rests = False
        """True while the world may have upkeep to do: after work, until it reports that there is none."""
        self._busy_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Begin to load."""
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Take no more work, fail what waits, and wait up to `timeout` seconds for the job that runs."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(timeout)

    @property
    def loaded(self) -> bool:
        """True once the world is loaded."""
        return self.world.done() and not self.world.cancelled() and self.world.exception() is None

    @property
    def failure(self) -> BaseException | None:
        """Error that ended the loading of the world; None while it loads or once it is loaded."""
        return self.world.exception() if self.world.done() else None

    @property
    def busy_seconds(self) -> float:
        """Seconds that the present job has been running, 0 between jobs."""
        since = self._busy_since
        return 0.0 if since is None else self._clock() - since

    def submit(
        self,
        work: Callable[[World], T],
        *,
        deadline: float,
        priority: Priority = Priority.GENERATE,
        owner: Hashable = None,
    ) -> Future[T]:
        """Queue `work(world)` for the engine's thread, and return its future.

        Args: `deadline`, a time of the engine's clock; `owner`, whose share of the time it counts in.

        Raises EngineStopped once the engine was stopped or the world failed to load.
        """
        result: Future[T] = Future()
        self._queue(_Job(priority, deadline, next(self._order), owner, work, result))
        return result

    def submit_step(self, begin: Begin[T], *, deadline: float, owner: Hashable, alone: bool = False) -> Future[T]:
        """Queue work with one step of the world, which may share its pass with those of other owners unless `alone`.

        Else as `submit`.
        """
        result: Future[T] = Future()
        work, step = partial(step_alone, begin), None if alone else begin
        self._queue(_Job(Priority.GENERATE, deadline, next(self._order), owner, work, result, step))
        return result

    def _queue(self, job: _Job) -> None:
        with self._changed:
            if self._stopped:
                raise EngineStopped("the engine takes no more work: the server is stopping or its world did not load")
            self._fair_share.arrive(job.owner, self._clock())
            self._jobs.append(job)
            self._changed.notify()

    def reschedule(self, result: Future[Any], deadline: float) -> None:
        """Move the deadline of waiting work forward; `result` is its future from `submit`."""
        with self._changed:
            for place, job in enumerate(self._jobs):
                if job.result is result:
                    self._jobs[place] = replace(job, deadline=min(job.deadline, deadline))

    def forget(self, owner: Hashable) -> None:
        """Drop the share of `owner`, for whom nothing more will be submitted."""
        with self._changed:
            self._fair_share.forget(owner)

    def _run(self) -> None:
        try:
            world = self.config.setup(progress=self._progress)
        except BaseException as error:  # every error is reported; none ends the thread silently
            log.exception("the world %s could not be loaded", self.config.slug)
            self.world.set_exception(error)
            self._refuse_all()
            return
        sys.setswitchinterval(SWITCH_SECONDS)
        self.stage = LoadStage("ready", 1.0)
        self.world.set_result(world)
        while jobs := self._next(world):
            began = self._busy_since = self._clock()
            if len(jobs) == 1:
                _run(jobs[0], world)
            else:
                self._run_together(jobs, world)
            self._busy_since, ended = None, self._clock()
            share = (ended - began) / len(jobs)
            with self._changed:
                for job in jobs:
                    self._fair_share.charge(job.owner, ended - share, ended)
            if self._timed:
                self._passes.note(len(jobs), ended - began)
        self._refuse_all()

    def _run_together(self, jobs: list[_Job], world: World) -> None:
        works = [(job.step, job.result) for job in jobs if job.step is not None]
        if not step_in_one_pass(works, world):
            log.error("%d chunks in one pass failed together: from now on they go one by one", len(jobs))
            self._passes.fail()

    def _progress(self, stage: str, fraction: float) -> None:
        self.stage = LoadStage(stage, min(max(float(fraction), 0.0), 1.0))

    def _next(self, world: World) -> list[_Job]:
        """Wait for work, and return one job, or steps for one pass; none once the engine was stopped."""
        wait = REST_SECONDS if self._rests else None
        while not self._work_comes(wait):
            try:
                self._rests = world.at_rest()
            except Exception:  # nobody waits for it, and chunks may still be dreamed
                log.exception("the world's upkeep failed")
                self._rests = False
            wait = 0.0 if self._rests else None
        with self._changed:
            if self._stopped:
                return []
            jobs = self._most_urgent(world)
            for job in jobs:
                self._jobs.remove(job)
            self._rests = True
            return jobs

    def _work_comes(self, seconds: float | None) -> bool:
        """Wait for work or the end for so many seconds, None without end; returns whether there is any."""
        with self._changed:
            return bool(self._changed.wait_for(lambda: self._stopped or self._jobs, seconds))

    def _most_urgent(self, world: World) -> list[_Job]:
        """Return the job that is next, and the steps that share its pass."""
        highest = min(job.priority for job in self._jobs)
        jobs = [job for job in self._jobs if job.priority == highest]
        waiting = {job.owner for job in jobs}
        jobs.sort(key=lambda job: (self._fair_share.is_ahead(job.owner, waiting), job.deadline, job.order))
        first, self._timed = jobs[0], False
        if first.step is None or len(jobs) == 1 or world.rows_together == 1:
            return [first]
        together = [job for job in jobs if job.step is not None and job.deadline <= first.deadline + TOGETHER_SECONDS]
        together = [job for job in together if not self._fair_share.is_ahead(job.owner, waiting)] or [first]
        self._timed = len(together) > 1
        return together[: self._passes.rows(len(together), world.rows_together)]

    def _refuse_all(self) -> None:
        with self._changed:
            self._stopped = True
            jobs, self._jobs = self._jobs, []
        for job in jobs:
            if job.result.set_running_or_notify_cancel():
                job.result.set_exception(EngineStopped("the engine was stopped before this work was done"))


def _run(job: _Job, world: World) -> None:
    if not job.result.set_running_or_notify_cancel():
        return
    try:
        job.result.set_result(job.work(world))
    except Exception as error:
        job.result.set_exception(error)
