"""Renaming the keys of a state dict, so that published files load without being edited on disk."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

KeyPatterns = Mapping[str, str | None] | Sequence[tuple[str, str | None]]


def remap_checkpoint_keys(state_dict: Mapping[str, Tensor], patterns: KeyPatterns) -> dict[str, Tensor]:
    """The same tensors under new keys.

    Each pattern is a regular expression and its replacement, as for `re.sub`; all are applied in order to every key.
    A replacement of None drops the keys in which the expression is found. Raises ValueError for an expression that
    is not valid, or when two keys would become one.
    """
    return {new: state_dict[old] for new, old in remap_keys(state_dict, patterns).items()}


def remap_keys(keys: Iterable[str], patterns: KeyPatterns) -> dict[str, str]:
    """Which old key each new key stands for, by the rules of `remap_checkpoint_keys`."""
    rules = [(_compiled(expression), replacement) for expression, replacement in _pairs(patterns)]
    renamed: dict[str, str] = {}
    for old in keys:
        new = _renamed(old, rules)
        if new is None:
            continue
        if new in renamed:
            raise ValueError(f"the patterns give two keys the name {new!r}: {renamed[new]!r} and {old!r}")
        renamed[new] = old
    return renamed


def _renamed(key: str, rules: list[tuple[re.Pattern[str], str | None]]) -> str | None:
    for expression, replacement in rules:
        if replacement is not None:
            key = expression.sub(replacement, key)
        elif expression.search(key):
            return None
    return key


def _pairs(patterns: KeyPatterns) -> Iterable[tuple[str, str | None]]:
    return patterns.items() if isinstance(patterns, Mapping) else patterns


def _compiled(expression: str) -> re.Pattern[str]:
    try:
        return re.compile(expression)
    except re.error as error:
        raise ValueError(f"{expression!r} is not a valid regular expression: {error}") from error
