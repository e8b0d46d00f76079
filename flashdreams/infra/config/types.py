"""Checks of a config's values against the types that its dataclass declares."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

_SCALARS = (bool, int, float, str, bytes, type(None))


def check_field(cls: type, name: str, value: Any, path: str) -> None:
    """Raise TypeError naming the dotted `path` where `value` is not of the type that field `name` of `cls` declares.

    Whole numbers are floats too, a text is a path and the other way round, and a list stands for a tuple of its length.
    A config may stand for any other config. What cannot be looked up, such as a type variable, takes anything.
    """
    wanted = _hints(cls).get(name, Any)
    if not accepts(wanted, value):
        raise TypeError(f"config field {path!r} must be {describe(wanted)}, got {value!r:.80}")


def accepts(wanted: Any, value: Any) -> bool:
    """Return whether an annotation takes `value`."""
    origin, args = get_origin(wanted), get_args(wanted)
    if origin is Annotated:
        return accepts(args[0], value)
    if origin in (Union, types.UnionType):
        return any(accepts(each, value) for each in args)
    if origin is Literal:
        return any(type(value) is type(each) and value == each for each in args)
    if origin in (list, tuple, set, frozenset) or wanted in (list, tuple):
        return isinstance(value, list | tuple | set | frozenset) and _accepts_items(origin or wanted, args, value)
    if origin is dict or wanted is dict:
        kinds = args or (Any, Any)
        return isinstance(value, dict) and all(accepts(kinds[0], k) and accepts(kinds[1], v) for k, v in value.items())
    if origin is type or wanted is type or wanted is Callable or origin is Callable or origin is _CALLABLE:
        return callable(value)
    if isinstance(origin, type) and issubclass(origin, Iterable):
        return not isinstance(value, _SCALARS)
    return _accepts_plain(wanted if origin is None else origin, value)


_CALLABLE = get_origin(Callable[..., Any])


def _accepts_items(kind: type, args: tuple[Any, ...], values: Iterable[Any]) -> bool:
    items = list(values)
    if kind is tuple and args and args[-1] is not Ellipsis:
        return len(items) == len(args) and all(map(accepts, args, items))
    return not args or all(accepts(args[0], item) for item in items)


def _accepts_plain(wanted: Any, value: Any) -> bool:
    if wanted is None:
        return value is None
    if not isinstance(wanted, type) or wanted in (object, Any):
        return True
    if wanted is bool or isinstance(value, bool):
        return isinstance(value, bool) and wanted is bool
    if wanted is float:
        return isinstance(value, int | float)
    if wanted in (str, Path):
        return isinstance(value, str | Path)
    if dataclasses.is_dataclass(wanted):
        return dataclasses.is_dataclass(value) and not isinstance(value, type)
    return isinstance(value, wanted)


def describe(wanted: Any) -> str:
    """Return an annotation as people write it."""
    origin, args = get_origin(wanted), get_args(wanted)
    if origin is Annotated:
        return describe(args[0])
    if origin in (Union, types.UnionType):
        return " or ".join(map(describe, args))
    if origin is Literal:
        return " or ".join(map(repr, args))
    if wanted is type(None):
        return "None"
    return str(wanted) if args else getattr(wanted, "__name__", str(wanted))


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    """Return the types of a dataclass's fields; those of a class whose names cannot be looked up are left out."""
    hints: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        try:
            hints |= typing.get_type_hints(base, include_extras=True)
        except Exception:  # a name that is there for type checkers alone
            hints |= dict.fromkeys(inspect.get_annotations(base), Any)
    return hints
