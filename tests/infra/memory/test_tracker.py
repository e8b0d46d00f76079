"""Bytes of models on the meta device, counted by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from flashdreams.infra.memory.tracker import MemoryTracker, on_meta, repeated, weight_bytes


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


def test_what_is_counted_once_counts_as_if_it_was_run_again() -> None:
    runs = []

    def step(x: torch.Tensor, before: list[torch.Tensor] | None) -> tuple[torch.Tensor, list[torch.Tensor]]:
        runs.append(before is None)
        wide = torch.cat([x, x * 2, x * 3])  # a thing that it holds for a while
        both = wide[: len(x)] + (0 if before is None else before[0])
        return both[1:], [both[:1].clone(), both]

    def roll(track: bool) -> tuple[list[int], list[tuple[int, ...]]]:
        with MemoryTracker() as tracker:
            called, before, counted, layouts = tracker.counted_once(step) if track else step, None, [], []
            for _ in range(4):
                made, before = called(torch.zeros(6, 5, device="meta"), before)
                counted += [tracker.live, tracker.peak]
                layouts += [(*each.shape, *each.stride(), each.storage_offset()) for each in (made, *before)]
            assert made.untyped_storage()._cdata == before[1].untyped_storage()._cdata
        return counted, layouts

    assert roll(True) == roll(False)
    assert runs == [True, False, True, False, False, False]


def test_what_keeps_memory_of_its_own_is_run_every_time() -> None:
    kept: list[torch.Tensor] = []
    with MemoryTracker() as tracker:
        called = tracker.counted_once(lambda x: kept.append(x + 1) or x * 2)
        for count in (1, 2, 3):
            called(torch.zeros(10, device="meta"))
            assert len(kept) == count and tracker.live == 40 * count


def test_weights_without_memory_are_not_filled() -> None:
    drawn = torch.get_rng_state()
    with torch.device("meta"):
        expected = Layers().setup()
    made = on_meta(Layers())
    shapes = [
        {key: (value.shape, value.dtype, value.device) for key, value in m.state_dict().items()}
        for m in (made, expected)
    ]
    assert shapes[0] == shapes[1] and len(shapes[0]) == 7
    assert torch.equal(drawn, torch.get_rng_state())


@dataclass
class Layers:
    """A config of layers that torch fills at their start."""

    def setup(self) -> nn.Module:
        """Return them."""
        return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Embedding(5, 4), nn.Conv2d(4, 2, 3))


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
