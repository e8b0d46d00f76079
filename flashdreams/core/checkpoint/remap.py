"""Renaming the keys of a state dict, so that published files load without being edited on disk."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

KeyPatterns = Mapping[str, str | None] | Sequence[tuple[str, str | None]]


def remap_checkpoint_keys(state_dict: Mapping[str, Tensor], mapping: Mapping[str, str]) -> dict[str, Tensor]:
    """Return the same tensors under new keys: the first expression that matches a key's start renames it, once.

    `mapping` is of regular expressions to replacements, as for `re.sub`; keys that no expression matches stay. Raises
    ValueError for an expression that is not valid, or when two keys would become one.
    """
    rules = [(_compiled(expression), replacement) for expression, replacement in mapping.items()]
    renamed: dict[str, Tensor] = {}
    for old, tensor in state_dict.items():
        rule = next((rule for rule in rules if rule[0].match(old)), None)
        new = old if rule is None else rule[0].sub(rule[1], old, count=1)
        if new in renamed:
            raise ValueError(f"the mapping gives two keys the name {new!r}")
        renamed[new] = tensor
    return renamed


def rename_checkpoint_keys(state_dict: Mapping[str, Tensor], patterns: KeyPatterns) -> dict[str, Tensor]:
    """Return the same tensors under new keys, by patterns that work on each other's results.

    Each pattern is a regular expression and its replacement, as for `re.sub`; all are applied in order to every key.
    A replacement of None drops the keys in which the expression is found. Raises ValueError for an expression that
    is not valid, or when two keys would become one.
    """
    return {new: state_dict[old] for new, old in remap_keys(state_dict, patterns).items()}


def remap_keys(keys: Iterable[str], patterns: KeyPatterns) -> dict[str, str]:
    """Return the old key that each new key stands for, by the rules of `rename_checkpoint_keys`."""
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
