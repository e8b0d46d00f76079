"""Pickled state dicts, read without running anything they say."""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from flashdreams.core.checkpoint.file_kinds import archive_kind
from flashdreams.core.checkpoint.listing import listed

_PLAIN = (bool, int, float, complex, str, bytes, torch.Size, torch.dtype, torch.device)

_DEEPEST = 64
"""Dicts within dicts that a state dict may have."""


def load_pickle(path: Path) -> dict[str, Tensor]:
    """The tensors of a file that `torch.save` wrote, nested dicts flattened to dotted keys.

    Their memory is the file itself, page by page, where it is of the present format. Raises ValueError for a file that
    is damaged, that could run code, and that holds anything but tensors and plain values. Numbers, texts and
    lists of them, such as a training checkpoint's `step` and `epoch`, are left out.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            other = archive_kind(path, archive.namelist())
        if other is not None:
            raise ValueError(other)
    try:
        content = _loaded(path)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} was refused: it is not a pickle of tensors only, and loading it could run code. "
            "Convert it to safetensors where you trust it"
        ) from error
    except (RuntimeError, EOFError, ValueError, struct.error, RecursionError) as error:
        raise ValueError(f"{path} is not a whole torch checkpoint (was its copy cut short?): {error}") from error
    tensors: dict[str, Tensor] = {}
    others: list[str] = []
    for key, value in _leaves(content, path):
        if key and _is_plain(value):
            continue
        if not isinstance(value, Tensor) or not key:
            others.append(f"{key or 'the whole file'} ({type(value).__name__})")
        elif key in tensors:
            raise ValueError(f"{path} holds two tensors that are called {key!r} once nested keys are joined by dots")
        else:
            tensors[key] = value
    if others:
        raise ValueError(f"{path} was refused: it must be a dict of tensors, but holds {listed(others)}")
    if not tensors:
        raise ValueError(f"{path} was refused: it must be a dict of tensors, but holds none")
    return tensors


def _loaded(path: Path) -> object:
    if path.suffix == ".safetensors":  # torch would believe the name
        with path.open("rb") as file:
            return torch.load(file, map_location="cpu", weights_only=True)
    return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))


def _is_plain(value: object, depth: int = 8) -> bool:
    """Return True for numbers, texts, None, and lists and dicts of nothing else: they hold no weights."""
    if isinstance(value, (list, tuple, set, frozenset)):
        return depth > 0 and all(_is_plain(item, depth - 1) for item in value)
    if isinstance(value, Mapping):
        return depth > 0 and all(_is_plain(item, depth - 1) for item in value.values())
    return value is None or isinstance(value, _PLAIN)


def _leaves(content: object, path: Path, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, object]]:
    """Yield everything in nested dicts that is not a dict, with its dotted key."""
    if depth > _DEEPEST:
        raise ValueError(f"{path} was refused: its dicts are nested more than {_DEEPEST} deep")
    if not isinstance(content, Mapping):
        yield prefix, content
        return
    for key, value in content.items():
        yield from _leaves(value, path, f"{prefix}.{key}" if prefix else str(key), depth + 1)
