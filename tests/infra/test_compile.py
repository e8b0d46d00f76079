"""Compiling a module keeps the module, and refuses what is none."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from flashdreams.infra.compile import compile_module


def test_the_module_and_its_keys_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []

    def compile_without_a_compiler(fn, **options):  # type: ignore[no-untyped-def]
        modes.append(options["mode"])
        return fn

    monkeypatch.setattr(torch, "compile", compile_without_a_compiler)
    module = nn.Linear(2, 2)
    assert compile_module(module) is module
    assert set(module.state_dict()) == {"weight", "bias"}
    compile_module(module, mode="default")
    assert modes == ["max-autotune-no-cudagraphs", "default"]


def test_only_modules_are_compiled() -> None:
    with pytest.raises(TypeError, match=r"must be a torch.nn.Module, got builtin"):
        compile_module(len)  # type: ignore[type-var]


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(RuntimeError, match="fastest"):
        compile_module(nn.Linear(1, 1), mode="fastest")
