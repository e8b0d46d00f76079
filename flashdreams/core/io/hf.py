"""Repositories of the Hugging Face hub, downloaded by one process for all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch.distributed as dist
from huggingface_hub import snapshot_download
from huggingface_hub.constants import HUGGINGFACE_HUB_CACHE

from flashdreams.core.distributed import get_global_rank, is_distributed_initialized

__all__ = ["HUGGINGFACE_HUB_CACHE", "maybe_download_hf_repo_on_rank0"]

_OFFLINE = ("HF_HUB_OFFLINE", "LOCAL_FILES_ONLY")
"""Environment variables that forbid downloads."""


def maybe_download_hf_repo_on_rank0(
    repo_id_or_path: str,
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    allow_patterns: str | Sequence[str] | None = None,
    ignore_patterns: str | Sequence[str] | None = None,
) -> None:
    """Download a repository into the hub's cache in the first process, while all others wait; all must call.

    Nothing happens for a folder on this machine, and where `HF_HUB_OFFLINE` or `LOCAL_FILES_ONLY` is set. The patterns
    say which files are wanted and which are not. Raises RuntimeError in all processes where the download fails.
    """
    if Path(repo_id_or_path).expanduser().exists() or any(map(_is_set, _OFFLINE)):
        return
    outcome: list[dict[str, str | None]] = [{"error": None}]
    if get_global_rank() == 0:
        try:
            snapshot_download(
                repo_id_or_path,
                revision=revision,
                cache_dir=None if cache_dir is None else os.fspath(cache_dir),
                local_files_only=False,
                allow_patterns=_as_list(allow_patterns),
                ignore_patterns=_as_list(ignore_patterns),
            )
        except Exception as error:  # the others must hear of any failure, or they would wait forever
            outcome[0]["error"] = f"{type(error).__name__}: {error}"
    if is_distributed_initialized():
        dist.broadcast_object_list(outcome, src=0)
    if outcome[0]["error"] is not None:
        raise RuntimeError(f"{repo_id_or_path} cannot be downloaded: {outcome[0]['error']}")


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "").strip().lower() in ("1", "true", "yes", "on")


def _as_list(patterns: str | Sequence[str] | None) -> Any:
    if patterns is None:
        return None
    return [patterns] if isinstance(patterns, str) else list(patterns)
