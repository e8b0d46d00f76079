"""Torch dtypes on the command line, by their short names."""

from __future__ import annotations

from typing import Any

import torch
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

_ACCEPTED = ("bfloat16", "float16", "float32", "float64", "int32", "int64")

arguments = ConstructorRegistry()
"""For `with`: tyro then takes fields of type `torch.dtype`."""


@arguments.primitive_rule
def dtype_rule(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """Return the rule that parses and prints a `torch.dtype`; None for all other types."""
    if info.type is not torch.dtype:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="{" + ",".join(_ACCEPTED) + "}",
        instance_from_str=lambda words: getattr(torch, words[0]),
        is_instance=lambda value: isinstance(value, torch.dtype),
        str_from_instance=lambda dtype: [str(dtype).removeprefix("torch.")],
        choices=_ACCEPTED,
    )
