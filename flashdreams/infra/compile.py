"""Compilation of modules and buffers that stay where compiled code and CUDA graphs look for them."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Literal, TypeVar

from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)
CompileMode = Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]


def compile_module(module: M, *, mode: CompileMode = "max-autotune-no-cudagraphs") -> M:
    """Let torch compile the module's `forward` on its first call; the same module, with unchanged state-dict keys.

    Raises TypeError for anything but a module, RuntimeError for a `mode` that torch does not know.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}")
    module.compile(mode=mode)
    return module


def set_or_copy(state: MutableMapping[Any, Tensor], key: Any, new_value: Tensor) -> Tensor:
    """Put `new_value` into `state[key]` and return what is there then.

    A tensor of the same shape, dtype and device that is there already takes the values and keeps its storage address.
    """
    present = state.get(key)
    if present is not None and _alike(present, new_value):
        present.copy_(new_value)
        return present
    state[key] = new_value
    return new_value


def _alike(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and a.device == b.device
