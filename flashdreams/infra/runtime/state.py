"""Copies of rollout state: tensors and random generators are copied, modules and functions are shared."""

from __future__ import annotations

import copy
import functools
from collections import deque
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

SHARED = (
    *(type(None), bool, int, float, complex, str, bytes, type, range),
    *(FunctionType, BuiltinFunctionType, ModuleType, nn.Module, torch.dtype, torch.device, torch.Size),
    *((dist.ProcessGroup,) if dist.is_available() else ()),
)
"""Types whose values are never copied."""


def copy_state(value: Any, memo: dict[int, Any] | None = None) -> Any:
    """Return a copy of `value` that later changes to the original cannot reach.

    Tensors that share storage share it in the copy too, and an object met twice is copied once. A class can say how it
    is copied with `__deepcopy__`. Modules hold weights, not rollout state, and are shared.
    """
    memo = {} if memo is None else memo
    if isinstance(value, SHARED):
        return value
    if id(value) in memo:
        return memo[id(value)]
    duplicate = _duplicate(value, memo)
    memo[id(value)] = duplicate
    # deepcopy keys its memo by id: the original must outlive the walk, or its id could be given to another object.
    memo.setdefault(-1, []).append(value)
    return duplicate


def state_bytes(value: Any) -> int:
    """Return memory of the tensors and arrays in `value`, each storage counted once.

    The weights of modules are not state.
    """
    storages: dict[int, int] = {}
    _count_storages(value, storages, {})
    return sum(storages.values())


def _count_storages(value: Any, storages: dict[int, int], seen: dict[int, Any]) -> None:
    if isinstance(value, SHARED) or id(value) in seen:
        return
    seen[id(value)] = value  # kept alive: its id must not be given to another object
    if isinstance(value, torch.Tensor):
        storage = value.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return
    if isinstance(value, np.ndarray):
        storages[id(value)] = value.nbytes
        return
    for part in parts(value):
        _count_storages(part, storages, seen)


def parts(value: Any) -> list[Any]:
    """Return the elements of a container, or the attributes of an object."""
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, list | tuple | set | frozenset | deque):
        return list(value)
    return [getattr(value, name) for name in attributes(value)]


def _duplicate(value: Any, memo: dict[int, Any]) -> Any:
    if isinstance(value, torch.Generator):
        return value.clone_state()
    if isinstance(value, dict | list | deque):
        return _duplicate_container(value, memo)
    if type(value) in (set, frozenset):
        return type(value)(copy_state(item, memo) for item in value)
    if type(value) is tuple:
        return tuple(copy_state(item, memo) for item in value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(copy_state(item, memo) for item in value))
    if isinstance(value, MethodType):
        return MethodType(value.__func__, copy_state(value.__self__, memo))
    if isinstance(value, functools.partial):
        keywords = {key: copy_state(item, memo) for key, item in value.keywords.items()}
        return functools.partial(copy_state(value.func, memo), *copy_state(value.args, memo), **keywords)
    if hasattr(value, "__deepcopy__"):
        return copy.deepcopy(value, memo)
    return _duplicate_object(value, memo)


def _duplicate_container(value: Any, memo: dict[int, Any]) -> Any:
    duplicate = copy.copy(value)
    memo[id(value)] = duplicate
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        duplicate[key] = copy_state(item, memo)
    return duplicate


def _duplicate_object(value: Any, memo: dict[int, Any]) -> Any:
    duplicate = copy.copy(value)
    if duplicate is value:
        return value
    memo[id(value)] = duplicate
    for name in attributes(value):
        object.__setattr__(duplicate, name, copy_state(getattr(value, name), memo))
    return duplicate


def attributes(value: Any) -> list[str]:
    """Return the names of an object's attributes, those in slots first."""
    slots = [name for cls in type(value).__mro__ for name in _slots_of(cls) if hasattr(value, name)]
    return [*slots, *getattr(value, "__dict__", {})]


def _slots_of(cls: type) -> tuple[str, ...]:
    slots = cls.__dict__.get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    return tuple(name for name in names if name not in ("__dict__", "__weakref__"))
