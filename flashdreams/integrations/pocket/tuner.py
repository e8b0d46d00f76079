"""Tuning to this machine while nobody waits: threads and denoising steps, and again where the machine has changed."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

import torch

from flashdreams.core.precision import machine_key
from flashdreams.files import drafted
from flashdreams.integrations.pocket.probe import Speed, best_steps, chosen_threads, report_choice

ROUNDS = 8
"""Turns in which every number of threads dreams a chunk; the fastest of each counts, so that a busy moment does not."""
PLAYED = 24
"""Newest chunks of visitors whose median is compared with what was planned."""
SLOWER, FASTER = 2.0, 0.5
"""Times the planned seconds beyond which the plan is taken for wrong."""
PAUSE_SECONDS = 60.0
"""Least time from one probe to the next."""

logger = logging.getLogger(__name__)


class Tuner:
    """Choice of threads and steps by trying, a chunk at a time, remembered for this machine and these weights.

    Used by one thread, the one that dreams: threads are set for it.
    """

    def __init__(
        self,
        try_chunks: Callable[[], Iterator[Speed]],
        take_steps: Callable[[int], None],
        *,
        threads: Sequence[int],
        lasts: float,
        psnr_db: Mapping[int, float],
        own_steps: int,
        name: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take what is remembered; else all cores until the first probe.

        Args:
            try_chunks: begins a rollout that nobody sees; every chunk of it is timed.
            take_steps: has chunks dreamed with so many denoising steps from now on.
            threads: the numbers of threads to try.
            lasts: seconds that a chunk plays for.
            psnr_db: the weights' agreement with the truth, by number of steps.
            own_steps: steps where nothing is known of their agreement.
            name: of the world and its weights, under which the choice is remembered.
            clock: seconds, as time.monotonic.
        """
        self._try_chunks, self._take_steps, self._clock = try_chunks, take_steps, clock
        self._lasts, self._psnr_db, self._own_steps = lasts, psnr_db, own_steps
        self._threads = tuple(threads)
        self._name = f"{name} {self._threads}"
        self._played: deque[float] = deque(maxlen=PLAYED)
        self._planned: float | None = None
        self._work: Iterator[None] | None = None
        self._probed = float("-inf")
        remembered = self._recall()
        if remembered is None:
            torch.set_num_threads(max(self._threads))
        else:
            self._take(*remembered)

    def note(self, seconds: float) -> None:
        """Count a visitor's chunk that took so long; those that a probe dreams are left out."""
        if self._work is None:
            self._played.append(seconds)

    def at_rest(self) -> bool:
        """Dream one chunk of a probe, where one is due; returns whether there is more to do."""
        if self._work is None:
            if not self._due():
                return False
            self._work = self._probe()
        for _ in self._work:
            return True
        self._work = None
        return False

    def _due(self) -> bool:
        if self._clock() - self._probed < PAUSE_SECONDS:
            return False
        if self._planned is None:
            return True
        if len(self._played) < PLAYED:
            return False
        shown = median(self._played)
        return not FASTER * self._planned <= shown <= SLOWER * self._planned

    def _probe(self) -> Iterator[None]:
        """Time all numbers of threads in turns. Between two chunks the choice so far is in force."""
        before, found = torch.get_num_threads(), dict.fromkeys(self._threads, Speed(float("inf"), float("inf")))
        chunks = self._try_chunks()
        for number in range(1 + ROUNDS):
            for threads in self._threads:
                torch.set_num_threads(threads)
                try:
                    speed = next(chunks)
                finally:
                    torch.set_num_threads(before)
                if number > 0:  # the first products on a processor choose their kernels
                    found[threads] = min(found[threads], speed, key=lambda each: each.chunk)
                yield
        threads = chosen_threads({threads: speed.chunk for threads, speed in found.items()})
        self._take(threads, found[threads])
        self._remember(threads, found[threads])
        self._probed = self._clock()

    def _take(self, threads: int, speed: Speed) -> None:
        steps = best_steps(speed, self._lasts, self._psnr_db) if self._psnr_db else self._own_steps
        torch.set_num_threads(threads)
        self._take_steps(steps)
        self._planned = speed.with_steps(steps)
        self._played.clear()
        report_choice(speed, self._lasts, steps, self._psnr_db)

    # -- memory --------------------------------------------------------------------------------------------------

    def _recall(self) -> tuple[int, Speed] | None:
        try:
            entry = json.loads(memory_file().read_text("utf-8"))[self._key]
            threads, speed = int(entry["threads"]), Speed(float(entry["chunk"]), float(entry["step"]))
        except (OSError, RuntimeError, ValueError, KeyError, TypeError):
            return None
        return (threads, speed) if threads in self._threads and 0 <= speed.step <= speed.chunk else None

    def _remember(self, threads: int, speed: Speed) -> None:
        file = memory_file()
        try:
            known = json.loads(file.read_text("utf-8"))
        except (OSError, RuntimeError, ValueError):
            known = {}
        entry = {"threads": threads, "chunk": round(speed.chunk, 4), "step": round(speed.step, 4)}
        try:
            with drafted(file) as draft:
                draft.write_text(json.dumps({**(known if isinstance(known, dict) else {}), self._key: entry}), "utf-8")
        except (OSError, RuntimeError):  # a read-only home: it is measured again at the next start
            logger.debug("the speed of this machine could not be remembered", exc_info=True)

    @property
    def _key(self) -> str:
        return hashlib.sha256(f"{machine_key()} {self._name}".encode()).hexdigest()[:16]


def memory_file() -> Path:
    """Return the file that remembers choices: in the user's cache folder, or where XDG_CACHE_HOME says."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flashdreams" / "speed.json"
