"""Common parts of the benchmarks: statistics of a series, facts about the machine, printing of results."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
ROOT = Path(__file__).resolve().parent.parent


def summary(values: Sequence[float] | Floats, digits: int = 2) -> dict[str, float]:
    """Median, 95th percentile, mean, least, greatest and number of `values`. Raises ValueError where there are none."""
    if len(values) == 0:
        raise ValueError("a summary needs at least one value")
    series = np.asarray(values, dtype=np.float64)
    figures = {
        "median": np.median(series),
        "p95": np.percentile(series, 95),
        "mean": series.mean(),
        "min": series.min(),
        "max": series.max(),
    }
    return {**{name: round(float(value), digits) for name, value in figures.items()}, "n": len(values)}


def median_slope(at: Sequence[float] | Floats, values: Sequence[float] | Floats) -> float:
    """Return the slope of `values` over `at`: the median over all pairs (Theil and Sen).

    One slow chunk, or one collected cycle of garbage, near an end would tilt a line of least squares.
    """
    return float(np.median(_slopes(at, values)))


def slope_interval(at: Sequence[float] | Floats, values: Sequence[float] | Floats) -> tuple[float, float]:
    """Return the 95 % interval of `median_slope` by Kendall's variance (Sen, 1968): values must be independent."""
    slopes, count = np.sort(_slopes(at, values)), len(values)
    reach = 1.96 * np.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    low, high = (len(slopes) - reach) / 2, (len(slopes) + reach) / 2
    last = len(slopes) - 1
    return float(slopes[int(np.clip(low, 0, last))]), float(slopes[int(np.clip(np.ceil(high), 0, last))])


def _slopes(at: Sequence[float] | Floats, values: Sequence[float] | Floats) -> Floats:
    """Slopes between all pairs of `values` over `at`."""
    where, series = np.asarray(at, dtype=np.float64), np.asarray(values, dtype=np.float64)
    first, second = np.triu_indices(len(series), 1)
    slopes: Floats = (series[second] - series[first]) / (where[second] - where[first])
    return slopes


def growth_percent(values: Sequence[float]) -> float:
    """Return the rise of `values` from first to last in percent of their median, by the median slope of all pairs.

    Raises ValueError for fewer than three values.
    """
    series = np.asarray(values, dtype=np.float64)
    if len(series) < 3:
        raise ValueError(f"growth needs at least three values, got {len(series)}")
    return float(100 * median_slope(range(len(series)), series) * (len(series) - 1) / np.median(series))


def machine() -> dict[str, Any]:
    """Return facts about the run: processor, cores, memory, versions, commit, and load beforehand."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(_memory_bytes() / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": _version("torch"),
        "av": _version("av"),
        "commit": _commit(),
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "time": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def log_progress(text: str) -> None:
    """Progress for the person who waits; standard output holds nothing but the JSON."""
    print(text, file=sys.stderr, flush=True)


def report(name: str, before: dict[str, Any], result: dict[str, Any]) -> None:
    """Prints the result of benchmark `name` as JSON; `before` is `machine()` as it was before the work began."""
    command = f"python -m benchmarks.{name} {' '.join(sys.argv[1:])}".strip()
    print(json.dumps({"benchmark": name, "command": command, "machine": before, **result}, indent=2))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 0


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    try:
        command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
