"""Restoring a rollout in the memory of the one that it replaces, so that captured steps stay valid."""

from __future__ import annotations

import functools
from types import MethodType
from typing import Any

import torch
from torch import Tensor

from flashdreams.infra.runtime.state import SHARED, attributes, copy_state, parts


def restore_state(present: Any, snapshot: Any) -> Any:
    """Return `copy_state(snapshot)`, with the captured steps of `present` and the memory that they work on.

    `present` is of no use afterwards. A step is kept where all that its function is bound to has the same types and
    sizes in both; it is copied without its graph elsewhere. A step is any object with `bound_state`, and an object with
    `take_state(other)` says itself how it takes the state of another one, raising ValueError where that cannot be.
    """
    memo: dict[int, Any] = {}
    steps, others = _steps_of(present), _steps_of(snapshot)
    if present is not snapshot and len(steps) == len(others):
        for step, other in zip(steps, others, strict=True):
            _keep(step, other, memo)
    return copy_state(snapshot, memo)


def _keep(step: Any, other: Any, memo: dict[int, Any]) -> None:
    """Note in `memo` that `step` and what it is bound to stand for `other`; or nothing, where that cannot be."""
    found = dict(memo)
    try:
        kept = type(step) is type(other) and _merge(step.bound_state, other.bound_state, found) is step.bound_state
    except ValueError:
        return
    if kept:
        memo.update(found)
        memo[id(other)] = step


def _steps_of(value: Any) -> list[Any]:
    """Return the captured steps in `value`, each once, in the order in which they are met."""
    seen: dict[int, Any] = {}
    steps: list[Any] = []

    def visit(item: Any) -> None:
        if isinstance(item, (*SHARED, Tensor)) or id(item) in seen:
            return
        seen[id(item)] = item
        if hasattr(item, "bound_state"):
            steps.append(item)
            return
        for part in parts(item):
            visit(part)

    visit(value)
    return steps


def _merge(present: Any, other: Any, memo: dict[int, Any]) -> Any:
    """Return `present` with the state of `other` in it; what cannot be written is replaced by a copy.

    Raises ValueError where a tensor or an object of `other` has no match in `present`.
    """
    if id(other) in memo and not isinstance(other, SHARED):
        return memo[id(other)]
    if isinstance(other, SHARED) or present is None:
        return present if type(present) is type(other) and present == other else copy_state(other, memo)
    if type(present) is not type(other) or any(present is kept for kept in memo.values()):
        raise ValueError(f"{type(other).__name__} has no match of its own")
    if isinstance(present, functools.partial | MethodType):
        return _merge_function(present, other, memo)
    if isinstance(present, tuple) and not hasattr(present, "_fields"):
        merged = tuple(_merge(a, b, memo) for a, b in zip(present, other, strict=True))
        return present if _same(present, merged) else merged
    memo[id(other)] = present
    memo.setdefault(-1, []).append(other)
    if isinstance(present, Tensor):
        _overwrite(present, other)
    elif hasattr(present, "take_state"):
        present.take_state(other)
    elif isinstance(present, list):
        present[:] = [_merge(a, b, memo) for a, b in zip(present, other, strict=True)]
    elif isinstance(present, dict):
        if present.keys() != other.keys():
            raise ValueError(f"keys must be {sorted(map(str, other))}, got {sorted(map(str, present))}")
        present.update({key: _merge(present[key], item, memo) for key, item in other.items()})
    else:
        _merge_attributes(present, other, memo)
    return present


def _merge_function(present: Any, other: Any, memo: dict[int, Any]) -> Any:
    """Return `present` where all that it is bound to could take the state of what `other` is bound to."""
    if isinstance(present, MethodType):
        before, now = [present.__func__, present.__self__], [other.__func__, other.__self__]
    else:
        before = [present.func, *present.args, *present.keywords.values()]
        now = [other.func, *other.args, *(other.keywords.get(key) for key in present.keywords)]
    if len(before) != len(now) or not _same(before, [_merge(a, b, memo) for a, b in zip(before, now, strict=True)]):
        raise ValueError("the functions are bound to unlike things")
    return present


def _merge_attributes(present: Any, other: Any, memo: dict[int, Any]) -> None:
    names = attributes(other)
    if hasattr(other, "__deepcopy__") or set(names) != set(attributes(present)):
        raise ValueError(f"{type(other).__name__} cannot take the state of another one")
    for name in names:
        object.__setattr__(present, name, _merge(getattr(present, name), getattr(other, name), memo))


def _overwrite(present: Tensor, other: Tensor) -> None:
    layouts = [(each.shape, each.stride(), each.dtype, each.device) for each in (present, other)]
    if layouts[0] != layouts[1]:
        raise ValueError(f"shapes must be the same, got {list(present.shape)} and {list(other.shape)}")
    with torch.no_grad(), torch.inference_mode(present.is_inference() or torch.is_inference_mode_enabled()):
        present.copy_(other)


def _same(before: Any, now: Any) -> bool:
    return all(a is b for a, b in zip(before, now, strict=True))
