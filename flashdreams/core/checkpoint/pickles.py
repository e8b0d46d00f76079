"""Pickled state dicts, read without running anything they say."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from flashdreams.core.checkpoint.file_kinds import archive_kind
from flashdreams.core.checkpoint.listing import listed

_PLAIN = (bool, int, float, complex, str, bytes, torch.Size, torch.dtype, torch.device)

_DEEPEST = 64
"""Dicts within dicts that a state dict may have."""


class NestedStateDict(dict[str, Tensor]):
    """Tensors under dotted keys, in which a dict that the file nests them in is found by its name too.

    `state["generator"]` is the state dict of all keys that begin with `generator.`, where the file has such a dict.
    """

    def __init__(self, tensors: Mapping[str, Tensor], groups: Iterable[str] = ()) -> None:
        """`groups`: dotted names of the file's nested dicts."""
        super().__init__(tensors)
        self.groups = frozenset(groups)

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or key in self.groups

    def __missing__(self, key: str) -> NestedStateDict:
        if key not in self.groups:
            raise KeyError(key)
        prefix = f"{key}."
        tensors = {name.removeprefix(prefix): each for name, each in self.items() if name.startswith(prefix)}
        return NestedStateDict(tensors, {name.removeprefix(prefix) for name in self.groups if name.startswith(prefix)})

    def get(self, key: str, default: Any = None) -> Any:
        """Return the tensor or the nested state dict `key`, else `default`."""
        return self[key] if key in self else default


def load_pickle(path: Path) -> NestedStateDict:
    """Return the tensors of a file that `torch.save` wrote, nested dicts flattened to dotted keys.

    Their memory is the file itself, page by page, where it is of the present format. Raises ValueError for a file that
    is damaged, that could run code, and that holds anything but tensors and plain values. Numbers, texts and
    lists of them, such as a training checkpoint's `step` and `epoch`, are left out.
    """
    other = None
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                other = archive_kind(path, archive.namelist())
        content = None if other is not None else _loaded(path)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} was refused: it is not a pickle of tensors only, and loading it could run code. "
            "Convert it to safetensors where you trust it"
        ) from error
    except (MemoryError, OSError):
        raise
    except Exception as error:  # a damaged pickle or archive may fail anywhere
        raise ValueError(f"{path} is not a whole torch checkpoint (was its copy cut short?): {error}") from error
    if other is not None:
        raise ValueError(other)
    tensors: dict[str, Tensor] = {}
    others: list[str] = []
    groups: set[str] = set()
    for key, value in _leaves(content, path, groups):
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
    return NestedStateDict(tensors, groups)


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


def _leaves(
    content: object, path: Path, groups: set[str], prefix: str = "", depth: int = 0
) -> Iterator[tuple[str, object]]:
    """Yield everything in nested dicts that is not a dict, with its dotted key; add the dicts' names to `groups`."""
    if depth > _DEEPEST:
        raise ValueError(f"{path} was refused: its dicts are nested more than {_DEEPEST} deep")
    if not isinstance(content, Mapping):
        yield prefix, content
        return
    if prefix:
        groups.add(prefix)
    for key, value in content.items():
        yield from _leaves(value, path, groups, f"{prefix}.{key}" if prefix else str(key), depth + 1)
