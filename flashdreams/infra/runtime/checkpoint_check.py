"""Checking checkpoints without running a model: every part of a config against its file, by keys and shapes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from flashdreams.core.checkpoint.load import checking_only


@dataclass(frozen=True)
class CheckedFile:
    """Result of checking one part's file."""

    part: str
    """Dotted name of the part in the config."""
    file: str
    """Source of its weights."""
    problem: str | None
    """Reason why they cannot be used; None where they fit."""


def check_parts(config: Any, name: str = "") -> Iterator[CheckedFile]:
    """Yield every part below `config` that has a `checkpoint_path`, set up on no device against its file.

    Files on the hub are fetched. No weight is kept, and no memory is taken for any.
    """
    path = getattr(config, "checkpoint_path", None)
    if path is not None:
        yield CheckedFile(name, str(path), problem_with(config.setup))
    for each in dataclasses.fields(config):
        part = getattr(config, each.name)
        if dataclasses.is_dataclass(part) and not isinstance(part, type):
            yield from check_parts(part, f"{name}.{each.name}" if name else each.name)


def problem_with(load: Callable[[], Any]) -> str | None:
    """Return the reason for which `load`, which sets up a module and calls `load_into`, fails; None if it does not."""
    try:
        with checking_only(), torch.device("meta"):
            load()
    except (ValueError, KeyError, OSError, ImportError) as error:
        return str(error.args[0]) if isinstance(error, KeyError) else str(error)
    return None
