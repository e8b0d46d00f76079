"""Log levels of processes that work together: the first one reports, the others only warn."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import torch.distributed as dist

DEFAULT_LOG_LEVEL = "INFO"
"""Level of the first process's messages."""


def get_global_rank_from_env() -> int:
    """Return the launcher's `RANK`, 0 without one."""
    return int(os.environ.get("RANK", "0"))


def get_global_rank_for_logging() -> int:
    """Return this process's rank, from the environment where the process group is not there yet."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank()
    return get_global_rank_from_env()


def configure_loguru_for_distributed(world_rank: int | None = None) -> None:
    """Show loguru's messages from `DEFAULT_LOG_LEVEL` up in the first process, and warnings in the others.

    `world_rank=None` takes `get_global_rank_for_logging()`. This package logs with the standard library: without loguru
    installed nothing happens.
    """
    try:
        loguru: Any = importlib.import_module("loguru")
    except ImportError:
        return
    rank = get_global_rank_for_logging() if world_rank is None else world_rank
    loguru.logger.remove()
    loguru.logger.add(sys.stderr, level=DEFAULT_LOG_LEVEL if rank == 0 else "WARNING")
