"""Tensors that are made of others when they are asked for."""

from __future__ import annotations

import torch

from flashdreams.core.checkpoint.lazy_state_dict import MadeTensors, dtype_of, shape_of


def test_nothing_is_made_before_it_is_asked_for_and_nothing_is_kept() -> None:
    made: list[str] = []

    def half(x: torch.Tensor) -> torch.Tensor:
        made.append("half")
        return x[: len(x) // 2]

    source = {"w": torch.arange(6.0), "b": torch.ones(2, dtype=torch.bfloat16)}
    tensors = MadeTensors(source, {"first": ("w", half), "bias": "b"})
    assert list(tensors) == ["first", "bias"] and len(tensors) == 2 and not made
    assert tensors["first"].tolist() == [0, 1, 2] and tensors["bias"] is source["b"]
    assert tensors["first"].tolist() == [0, 1, 2] and made == ["half", "half"]


def test_types_and_shapes_go_through_several_layers() -> None:
    source = {"w": torch.zeros(4, 2, dtype=torch.float16)}
    inner = MadeTensors(source, {"v": "w"})
    outer = MadeTensors(inner, {"u": "v", "t": ("v", torch.t)})
    assert outer.origin("t") == (inner, "v")
    assert (dtype_of(outer, "u"), shape_of(outer, "u")) == (torch.float16, (4, 2))
    assert shape_of(outer, "t") == (2, 4)
