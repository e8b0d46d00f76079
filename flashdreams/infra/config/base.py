"""Config dataclasses: build what they describe, print, derive, fingerprint, and go to JSON and back."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import torch

from flashdreams.infra.config.serialization import from_jsonable, to_jsonable

T = TypeVar("T")

_INDENT = "    "
_PLAIN = frozenset({bool, float, int, str, type(None)})
"""Types of most fields, told apart from the others at once."""


class PrintableConfig:
    """A config tree that prints itself, compares, hashes, has a stable fingerprint and survives JSON.

    Equal trees have equal hashes, so that a config can be the key of a dict; do not change one that is a key.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__hash__" not in cls.__dict__:  # a dataclass with `__eq__` drops the hash that it only inherits
            cls.__hash__ = PrintableConfig.__hash__  # type: ignore[method-assign]

    def __str__(self) -> str:
        """Return the whole tree, one field per line, indented by depth."""
        return "\n".join(_dump(self))

    def __hash__(self) -> int:
        """Return a hash of the whole tree: functions and classes count by their name, what has no hash by its type."""
        return _hash_of(self)

    def to_dict(self) -> dict[str, Any]:
        """Return a tree of JSON types from which `from_dict` rebuilds an equal config.

        Raises TypeError naming the dotted field for a value that has no JSON form (a lambda, a tensor).
        """
        tree = to_jsonable(self)
        assert isinstance(tree, dict)
        return tree

    @classmethod
    def from_dict(cls, tree: dict[str, Any]) -> Self:
        """Rebuild a config written by `to_dict`. It imports the modules that the tree names: read only trees you trust.

        Raises KeyError for unknown fields or classes, TypeError for a value that is not of its field's type and when
        the tree holds no `cls`, ValueError where a config's own check refuses a value.
        """
        try:
            config = from_jsonable(tree)
        except RecursionError as error:
            raise TypeError("the tree is nested too deeply") from error
        if not isinstance(config, cls):
            raise TypeError(f"the tree describes a {type(config).__name__}, but a {cls.__name__} was asked for")
        return config

    def fingerprint(self) -> str:
        """Return a hex digest that is equal for equal configs, in any process."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()


@dataclass
class InstantiateConfig(PrintableConfig):
    """A config that builds the object it describes."""

    _target: type
    """The class that `setup` instantiates."""

    def setup(self, **kwargs: Any) -> Any:
        """Return `_target(self, **kwargs)`."""
        return self._target(self, **kwargs)


def derive_config(base_config: T, **changes: Any) -> T:
    """Return a deep copy of `base_config` with nested overrides; `base_config` is never changed.

    A `dict` value walks into a dataclass attribute or a dict, any other value replaces what is there. Checks made in
    `__post_init__` run again on every changed dataclass.

    Raises KeyError naming the dotted path when it does not exist, TypeError when a dict is given for a plain value.
    """
    if not dataclasses.is_dataclass(base_config) or isinstance(base_config, type):
        raise TypeError(f"base_config must be a config dataclass instance, got {type(base_config).__name__}")
    derived: T = _override(copy.deepcopy(base_config), changes, "")
    return derived


def replace_everywhere(config: T, **values: Any) -> T:
    """Return a copy of `config` in which every dataclass of the tree that has a field of this name holds this value."""
    if not _is_config(config):
        return config
    own = _fields_of(config)
    changed = {name: replace_everywhere(value, **values) for name, value in own.items()}
    changed |= {name: value for name, value in values.items() if name in own}
    replaced: T = dataclasses.replace(config, **changed)  # type: ignore[type-var]
    return replaced


def values_everywhere(config: Any, name: str) -> Iterator[Any]:
    """Return the values of the fields of this name in all dataclasses of a tree, outer ones first."""
    for field, value in _fields_of(config).items():
        if field == name:
            yield value
        for each in value if isinstance(value, list | tuple) else (value,):
            if _is_config(each):
                yield from values_everywhere(each, name)


def _override(node: Any, changes: dict[str, Any], path: str) -> Any:
    values = node if isinstance(node, dict) else _fields_of(node)
    changed = {}
    for key, value in changes.items():
        here = f"{path}.{key}" if path else str(key)
        if key not in values:
            raise KeyError(f"no config field {here!r}: accepted here are {', '.join(map(str, values)) or 'none'}")
        if isinstance(value, dict):
            if not isinstance(values[key], dict) and not _is_config(values[key]):
                raise TypeError(f"config field {here!r} holds {values[key]!r}, which a dict cannot override")
            changed[key] = _override(values[key], value, here)
        else:
            changed[key] = value
    return {**node, **changed} if isinstance(node, dict) else dataclasses.replace(node, **changed)


def _is_config(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _fields_of(config: Any) -> dict[str, Any]:
    return {f.name: getattr(config, f.name) for f in dataclasses.fields(config) if f.init}


def _hash_of(value: Any) -> int:
    if type(value) in _PLAIN:
        return hash(value)
    if _is_config(value):
        compared = (_hash_of(getattr(value, each.name)) for each in dataclasses.fields(value) if each.compare)
        return hash((type(value).__qualname__, *compared))
    if isinstance(value, dict):
        return hash(frozenset((_hash_of(key), _hash_of(item)) for key, item in value.items()))
    if isinstance(value, list | tuple):
        return hash(tuple(map(_hash_of, value)))
    if isinstance(value, set | frozenset):
        return hash(frozenset(map(_hash_of, value)))
    if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        return hash((value.__module__, value.__qualname__))
    try:  # a tensor has a hash, but by identity
        return hash(type(value).__qualname__ if isinstance(value, torch.Tensor) else value)
    except TypeError:
        return hash(type(value).__qualname__)


def _dump(value: Any, label: str = "", depth: int = 0) -> list[str]:
    lead = _INDENT * depth + (f"{label}: " if label else "")
    children: list[tuple[str, Any]]
    if _is_config(value):
        head, children = f"{lead}{type(value).__name__}", list(_fields_of(value).items())
    elif isinstance(value, dict) and any(map(_is_nested, value.values())):
        head, children = f"{lead}dict", [(str(k), v) for k, v in value.items()]
    elif isinstance(value, list | tuple) and any(map(_is_nested, value)):
        head, children = f"{lead}{type(value).__name__}", [(f"[{i}]", v) for i, v in enumerate(value)]
    elif isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        return [f"{lead}{value.__module__}.{value.__qualname__}"]
    else:
        return [f"{lead}{value!r}"]
    return [head, *(line for name, child in children for line in _dump(child, name, depth + 1))]


def _is_nested(value: Any) -> bool:
    return _is_config(value) or isinstance(value, dict | list | tuple)
