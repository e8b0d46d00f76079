"""A graphed function gives what the function gives: a plain call without CUDA, warm-up, capture and replay with it."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from flashdreams.infra.cuda_graph import CUDAGraphWrapper, set_or_copy
from flashdreams.infra.runtime.state import copy_state


class Counter:
    def __init__(self, device: str) -> None:
        self.total = torch.zeros((), device=device)
        self.calls = 0

    def add(self, x: Tensor, scale: float = 1.0) -> dict[str, Tensor]:
        self.calls += 1
        self.total += x.sum()
        return {"sum": self.total * scale}


def test_without_cuda_it_is_a_plain_call() -> None:
    counter = Counter("cpu")
    graphed = CUDAGraphWrapper(counter.add)
    results = [graphed(torch.ones(2), scale=3.0)["sum"].item() for _ in range(5)]
    assert results == [6, 12, 18, 24, 30]
    assert counter.calls == 5
    assert graphed.drain(torch.ones(2))["sum"].item() == 12


def test_a_copy_works_on_the_copied_state() -> None:
    counter = Counter("cpu")
    copied_counter, copied = copy_state((counter, CUDAGraphWrapper(counter.add, warmup_iters=4)))
    copied(torch.ones(1))
    assert (counter.total.item(), copied_counter.total.item()) == (0, 1)
    assert copied.warmup_iters == 4


def test_bad_settings_are_named() -> None:
    assert CUDAGraphWrapper(len, warmup_iters=0).capture_error_mode == "thread_local"
    with pytest.raises(ValueError, match="warmup_iters must be at least 0, got -1"):
        CUDAGraphWrapper(len, warmup_iters=-1)
    with pytest.raises(ValueError, match="capture_error_mode"):
        CUDAGraphWrapper(len, capture_error_mode="none")


class Capture:
    """Stands for `torch.cuda.graph` on a CPU; the graph gives what its static output holds."""

    modes: ClassVar[list[str]] = []

    def __init__(self, graph: Any, capture_error_mode: str = "global") -> None:
        self.modes.append(capture_error_mode)

    def __enter__(self) -> None: ...

    def __exit__(self, *error: Any) -> None: ...


class Graph:
    def replay(self) -> None: ...


@pytest.mark.parametrize("given", [{}, {"capture_error_mode": "relaxed"}])
def test_a_capture_is_ended_by_no_other_thread(given: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "is_cuda", property(lambda self: True))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", Capture)
    Capture.modes.clear()
    graphed = CUDAGraphWrapper(lambda x: x * 2, warmup_iters=0, **given)
    assert graphed(torch.ones(3)).tolist() == [2.0] * 3
    assert Capture.modes == [given.get("capture_error_mode", "thread_local")]
    copied = copy_state(graphed)
    copied(torch.ones(3))
    assert Capture.modes[0] == Capture.modes[1]


def test_buffers_made_in_inference_mode_can_be_filled_outside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "is_cuda", property(lambda self: True))
    graphed = CUDAGraphWrapper(lambda x: x * 2)
    with torch.inference_mode():
        assert graphed.drain(torch.ones(3)).tolist() == [2.0] * 3
    assert graphed.drain(torch.full((3,), 4.0)).tolist() == [8.0] * 3


def test_set_or_copy_keeps_the_storage_of_a_like_tensor() -> None:
    state: dict[str, Tensor] = {}
    first = set_or_copy(state, "k", torch.zeros(3))
    address = first.data_ptr()
    assert set_or_copy(state, "k", torch.ones(3)) is first
    assert (state["k"].data_ptr(), state["k"].tolist()) == (address, [1, 1, 1])


@pytest.mark.parametrize("other", [torch.zeros(4), torch.zeros(3, dtype=torch.float64)])
def test_set_or_copy_replaces_an_unlike_tensor(other: Tensor) -> None:
    state = {"k": torch.zeros(3)}
    assert set_or_copy(state, "k", other) is other
    assert state["k"] is other


@pytest.mark.gpu
def test_replays_run_no_python_and_count_on() -> None:
    counter = Counter("cuda")
    graphed = CUDAGraphWrapper(counter.add, warmup_iters=2)
    results = [graphed(torch.full((2,), float(i), device="cuda"))["sum"] for i in range(6)]
    assert [result.item() for result in results] == [0, 2, 6, 12, 20, 30]
    assert counter.calls == 3


@pytest.mark.gpu
def test_another_shape_or_a_reset_captures_anew() -> None:
    counter = Counter("cuda")
    graphed = CUDAGraphWrapper(counter.add, warmup_iters=1)
    for size in (2, 2, 2, 5, 5, 5):
        graphed(torch.ones(size, device="cuda"))
    assert counter.calls == 4
    graphed.reset()
    result = [graphed(torch.ones(5, device="cuda")) for _ in range(3)][-1]
    assert counter.calls == 6
    assert result["sum"].item() == 3 * 2 + 6 * 5


@pytest.mark.gpu
def test_drain_runs_eagerly() -> None:
    counter = Counter("cuda")
    graphed = CUDAGraphWrapper(counter.add)
    for _ in range(5):
        graphed.drain(torch.ones(2, device="cuda"))
    assert counter.calls == 5
    assert counter.total.item() == 10


@pytest.mark.gpu
def test_tensors_on_two_devices_are_refused() -> None:
    with pytest.raises(ValueError, match="one GPU, got cpu, cuda"):
        CUDAGraphWrapper(torch.add)(torch.ones(1, device="cuda"), torch.ones(1))
