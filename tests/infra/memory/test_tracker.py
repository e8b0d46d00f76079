"""Bytes of models on the meta device, counted by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from flashdreams.infra.memory.tracker import MemoryTracker, repeated, weight_bytes


def test_tied_weights_count_once() -> None:
    first, second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    second.weight = first.weight
    assert weight_bytes(nn.Sequential(first, second, nn.BatchNorm1d(4))) == 4 * 16 + 4 * 16 + 8


def test_a_rehearsal_counts_what_is_alive_and_the_most_there_was() -> None:
    with MemoryTracker() as rehearsal:
        kept = torch.zeros(100, device="meta", dtype=torch.bfloat16)
        view = kept[:50].add_(1)
        torch.zeros(1000, device="meta", dtype=torch.uint8)
        assert (rehearsal.live, rehearsal.peak) == (200, 1200)
        del kept
        assert rehearsal.live == 200
        del view
    assert rehearsal.live == 0
    heads = torch.zeros(1, 2, 1000, 8, device="meta")
    with MemoryTracker() as rehearsal:
        attended = F.scaled_dot_product_attention(heads, heads, heads)
    assert attended.shape == heads.shape and rehearsal.peak == heads.nbytes


ATEN = torch.ops.aten


@pytest.mark.parametrize(
    ("operation", "settings"),
    [
        (ATEN.mul.Tensor, (2,)),
        (ATEN.mul.Tensor, (2.0,)),  # equal to the one before, of another type
        (ATEN.linalg_vector_norm.default, (2, [1])),
        (ATEN.view.default, ([6, 4],)),
        (ATEN._unsafe_view.default, ([6, 4],)),  # shares memory, and its schema does not say so
        (ATEN.slice.Tensor, (1, 0, 2)),
        (ATEN.add_.Tensor, (1,)),
    ],
    ids=str,
)
def test_a_repeated_operation_gives_a_tensor_as_torch_does(operation: Any, settings: tuple[Any, ...]) -> None:
    dtype = torch.int32 if operation is ATEN.mul.Tensor else torch.float32
    value = torch.empty_strided((4, 6), (1, 4), dtype=dtype, device="meta")
    if "view" in str(operation):
        value = value.new_empty(4, 6)
    expected = operation(value, *settings)
    for _ in range(2):
        made = repeated(operation, (value, *settings), {})
        assert (made.shape, made.stride(), made.dtype) == (expected.shape, expected.stride(), expected.dtype)
        assert made.untyped_storage().nbytes() == expected.untyped_storage().nbytes()
        shared, own = (each.untyped_storage()._cdata == value.untyped_storage()._cdata for each in (expected, made))
        assert own is shared


def test_an_operation_on_tensors_with_values_is_done_every_time() -> None:
    first, second = (repeated(ATEN.mul.Tensor, (torch.full((2,), value), 3), {}) for value in (1.0, 2.0))
    assert first.tolist() == [3, 3] and second.tolist() == [6, 6]
