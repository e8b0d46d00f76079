"""Processes that work on one model together: joining them, and who is who. A single process needs no set-up."""

from __future__ import annotations

import os
from datetime import timedelta

import torch
import torch.distributed as dist

from flashdreams.core import log_filters
from flashdreams.core.distributed.heartbeat import Heartbeat
from flashdreams.core.distributed.logs import (
    DEFAULT_LOG_LEVEL,
    configure_loguru_for_distributed,
    get_global_rank_for_logging,
    get_global_rank_from_env,
)
from flashdreams.core.distributed.machine import Device

PEER_TIMEOUT = "FLASHDREAMS_PEER_TIMEOUT"
"""Environment variable: seconds without a sign of life after which a process counts as gone."""

_PEER_TIMEOUT_S = 60.0
_LAUNCHER_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")

__all__ = [
    "DEFAULT_LOG_LEVEL",
    "PEER_TIMEOUT",
    "Device",
    "agree_on",
    "all_processes",
    "barrier",
    "configure_loguru_for_distributed",
    "get_global_rank",
    "get_global_rank_for_logging",
    "get_global_rank_from_env",
    "init",
    "is_distributed_initialized",
    "is_rank_zero",
    "local_rank",
    "log_filters",
    "peers",
    "rank",
    "shutdown",
    "world_size",
]


_peers: Heartbeat | None = None


def init(device_type: str | None = None, timeout_s: float = 1800.0) -> bool:
    """Join the processes that `torchrun` started; returns whether this one belongs to a group.

    Without a launcher's variables in the environment nothing happens and the answer is False. `device_type` is
    "cuda" (nccl, and this process takes GPU `LOCAL_RANK`) or "cpu" (gloo); None takes a GPU where there is one. May
    be called again. Raises RuntimeError when the launcher's variables are incomplete or name a GPU that is not there.
    """
    if dist.is_available() and dist.is_initialized():
        return True
    if "RANK" not in os.environ and "WORLD_SIZE" not in os.environ:
        return False
    missing = [name for name in _LAUNCHER_VARIABLES if name not in os.environ]
    if missing:
        raise RuntimeError(f"the environment lacks {', '.join(missing)}: start several processes with torchrun")
    if not dist.is_available():
        raise RuntimeError("this build of torch has no torch.distributed: start a single process, without torchrun")
    device_type = device_type or ("cuda" if torch.cuda.is_available() else "cpu")
    if device_type not in ("cuda", "cpu"):
        raise ValueError(f"device_type must be 'cuda' or 'cpu', got {device_type!r}")
    timeout = timedelta(seconds=timeout_s)
    seconds = _peer_timeout()
    if device_type == "cpu":
        dist.init_process_group("gloo", timeout=timeout)
        _watch_peers(seconds)
        return True
    if local_rank() >= torch.cuda.device_count():
        raise RuntimeError(
            f"LOCAL_RANK is {local_rank()} but there are {torch.cuda.device_count()} GPUs: start one process per GPU"
        )
    device = torch.device("cuda", local_rank())
    torch.cuda.set_device(device)
    dist.init_process_group("nccl", timeout=timeout, device_id=device)
    _watch_peers(seconds)
    return True


def peers() -> Heartbeat | None:
    """Return the watch over the other processes; None for a process that works alone."""
    return _peers


def _watch_peers(seconds: float) -> None:
    global _peers
    if dist.get_world_size() > 1:
        _peers = Heartbeat(dist.get_rank(), dist.get_world_size(), seconds)


def _peer_timeout() -> float:
    given = os.environ.get(PEER_TIMEOUT, str(_PEER_TIMEOUT_S))
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds < 86400:
        raise ValueError(f"{PEER_TIMEOUT} must be a number of seconds from 1 to 86400, got {given!r}")
    return seconds


def shutdown() -> None:
    """Leave the group; nothing happens where there is none."""
    global _peers
    if _peers is not None:
        _peers.done()
        _peers = None
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def is_distributed_initialized() -> bool:
    """Return whether this process belongs to a process group."""
    return dist.is_available() and dist.is_initialized()


def get_global_rank() -> int:
    """Return this process's number among all, 0 in a single process."""
    return dist.get_rank() if is_distributed_initialized() else 0


def rank() -> int:
    """Return `get_global_rank()`."""
    return get_global_rank()


def world_size() -> int:
    """Return the number of processes there are, 1 for a single process."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def all_processes() -> dist.ProcessGroup | None:
    """Return the group of all processes, None in a single process."""
    return dist.group.WORLD if world_size() > 1 else None


def agree_on(value: int, group: dist.ProcessGroup, device: torch.device) -> int:
    """Return the `value` that the group's first process has, in all of them; all must call.

    The group works on `device`.
    """
    told = torch.tensor([value], dtype=torch.int64, device=device)
    dist.broadcast(told, dist.get_global_rank(group, 0), group=group)
    return int(told)


def local_rank() -> int:
    """Return this process's number on its machine: `LOCAL_RANK` of the environment, 0 without a launcher."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def is_rank_zero() -> bool:
    """Return True if this is the process that writes files and talks to people."""
    return rank() == 0


def barrier() -> None:
    """Wait until all processes are here; returns at once in a single process."""
    if world_size() > 1:
        dist.barrier()
