"""Rules of the probe: the number of threads and of denoising steps that suit this machine."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from flashdreams.threads import available_cores

TIMESTEPS: dict[int, tuple[float, ...]] = {1: (1000.0,), 2: (1000.0, 100.0), 4: (1000.0, 500.0, 250.0, 100.0)}
"""The samplers that there are, by their number of steps."""
SHARE = 0.6
"""Of a chunk's playing time: more is not spent on dreaming it, for the video and a browser may need the same cores."""

WORTH = 1.5
"""All cores are used where they are faster than half of them by this factor. Threads wait for each other after every
product: where the browser takes one core for a moment, all of them stand still."""

_KEY = "psnr_db_by_steps"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Speed:
    """Time of a chunk on this machine, in seconds."""

    chunk: float
    """From poses to frames, with one denoising step."""
    step: float
    """One denoising step alone."""

    def with_steps(self, steps: int) -> float:
        """Seconds of a chunk with so many denoising steps."""
        return self.chunk + (steps - 1) * self.step


def candidate_threads() -> tuple[int, ...]:
    """Return the numbers of threads worth trying, the most first: all cores and half of them.

    Where `OMP_NUM_THREADS` is set, that many alone.
    """
    if "OMP_NUM_THREADS" in os.environ:
        return (torch.get_num_threads(),)
    every = min(torch.get_num_threads(), available_cores())
    return (every, every // 2) if every > 1 else (every,)


def chosen_threads(chunk_seconds: Mapping[int, float]) -> int:
    """Return the threads to take of those whose fastest chunk is given: the fewest, unless more are worth it."""
    fewest, most = min(chunk_seconds), max(chunk_seconds)
    return most if chunk_seconds[fewest] >= WORTH * chunk_seconds[most] else fewest


def best_steps(speed: Speed, lasts: float, psnr_db: Mapping[int, float]) -> int:
    """The number of steps nearest to the truth of those for which there is time; the smallest where there is for none.

    Args:
        speed: this machine's.
        lasts: seconds that a chunk plays for.
        psnr_db: the weights' agreement with the truth, by number of steps.
    """
    affordable = [steps for steps in psnr_db if speed.with_steps(steps) <= SHARE * lasts]
    return max(affordable or [min(psnr_db)], key=lambda steps: (psnr_db[steps], -steps))


def report_choice(speed: Speed, lasts: float, taken: int, psnr_db: Mapping[int, float]) -> None:
    """Log what was tried and what is `taken`; see `best_steps`. A machine that is too slow is warned of."""
    tried = [f"{steps} take {1e3 * speed.with_steps(steps):.0f} ms for {db:.1f} dB" for steps, db in psnr_db.items()]
    seconds = speed.with_steps(taken)
    logger.info(
        "a chunk of %.0f ms takes %.0f ms here, threads: %d, denoising steps: %d%s",
        1e3 * lasts,
        1e3 * seconds,
        torch.get_num_threads(),
        taken,
        f"; {', '.join(tried)}" if tried else "",
    )
    if seconds > lasts:
        logger.warning(
            "a second of this world takes %.1f seconds on this machine: docs/troubleshooting.md tells what helps",
            seconds / lasts,
        )


def psnr_by_steps(report: Mapping[str, Any]) -> dict[int, float]:
    """From an evaluation's report: mean PSNR in dB of a walk's last pictures, by number of steps."""
    found: dict[int, float] = {}
    for steps in TIMESTEPS:
        figures = report["measures"].get(prediction_name(steps), {})
        horizons = [name for name in figures if name.startswith("after_")]
        if horizons:
            found[steps] = figures[max(horizons, key=lambda name: int(name.split("_")[1]))]["mean"]
    return found


def prediction_name(steps: int) -> str:
    """Return the evaluation's name for the measure with `steps` denoising steps."""
    return f"prediction_{steps}_step{'s' * (steps > 1)}"


def as_metadata(psnr_db: Mapping[int, float]) -> dict[str, str]:
    """An entry of a weights file's metadata, which `measured` reads."""
    return {_KEY: json.dumps({str(steps): round(value, 2) for steps, value in psnr_db.items()})}


def measured(weights: Path) -> dict[int, float]:
    """PSNR in dB by number of steps, as the file's metadata tells it; of none where nobody has measured it.

    Raises ValueError for an entry that is not understood.
    """
    try:
        with safe_open(weights, "pt") as file:
            entry = (file.metadata() or {}).get(_KEY)
    except (OSError, SafetensorError):
        return {}  # another format, or an address
    if entry is None:
        return {}
    try:
        return {int(steps): float(value) for steps, value in json.loads(entry).items() if int(steps) in TIMESTEPS}
    except (ValueError, TypeError, AttributeError):
        raise ValueError(
            f"{weights}: metadata {_KEY} must be a JSON object of decibels by steps, got {entry}"
        ) from None
