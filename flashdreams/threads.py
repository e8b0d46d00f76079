"""Cores that this process may use, and how its threads wait: set before torch is imported. Imports nothing heavy."""

from __future__ import annotations

import math
import os
from collections.abc import MutableMapping
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
WAIT_VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""Variables by which a user decides how OpenMP's threads wait."""


def set_wait_policy(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let OpenMP's threads sleep while they wait, unless the user has decided.

    By default they spin: where another program wants the core, each product then waits for a thread that only waits
    itself. OpenMP reads the variable once, when torch is imported.
    """
    if not any(name in environment for name in WAIT_VARIABLES):
        environment["OMP_WAIT_POLICY"] = "PASSIVE"


def available_cores(root: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int:
    """Return the cores that this process may keep busy: those it may run on, within the CPU quota of its container."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(root, membership)
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota - 1e-6)))


def cpu_quota(root: Path = CGROUPS, membership: Path = MEMBERSHIP) -> float | None:
    """Return the cores that control groups (version 1 or 2) grant this process, None where they set no bound."""
    found = []
    for folder in _folders(root, membership):
        for read in (_quota_v2, _quota_v1):
            quota = read(folder)
            if quota is not None:
                found.append(quota)
    return min(found, default=None)


def _folders(root: Path, membership: Path) -> list[Path]:
    """Return this process's groups and all above them: each bounds what is in it."""
    try:
        lines = membership.read_text("utf-8").splitlines()
    except OSError:
        lines = []
    folders = [root, root / "cpu", root / "cpu,cpuacct"]
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        bases = [root] if not controllers else [root / controllers, root / "cpu"]
        if controllers and "cpu" not in controllers.split(","):
            continue
        for base in bases:
            folder = base / path.lstrip("/")
            while folder != base and base in folder.parents:
                folders.append(folder)
                folder = folder.parent
    return folders


def _quota_v2(folder: Path) -> float | None:
    try:
        quota, period = (folder / "cpu.max").read_text("ascii").split()[:2]
        return None if quota == "max" else _share(int(quota), int(period))
    except (OSError, ValueError):
        return None


def _quota_v1(folder: Path) -> float | None:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text("ascii"))
        period = int((folder / "cpu.cfs_period_us").read_text("ascii"))
        return _share(quota, period)
    except (OSError, ValueError):
        return None


def _share(quota: int, period: int) -> float | None:
    return quota / period if quota > 0 and period > 0 else None
