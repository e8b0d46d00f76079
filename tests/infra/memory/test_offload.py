"""Networks that take turns: one on the device, the others where they were, the same weights throughout."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from flashdreams.infra.config.base import derive_config
from flashdreams.infra.memory.offload import OffloadHooks, PlainCopies, page_lock
from flashdreams.infra.runtime.loading import announce, load_pipeline
from tests.infra.toy import toy_pipeline

CPU = torch.device("cpu")


def test_only_the_network_at_work_is_there() -> None:
    first, second = nn.Linear(3, 3), nn.BatchNorm1d(3)
    homes = [[tensor.data_ptr() for tensor in part.state_dict().values()] for part in (first, second)]
    weights = {key: tensor.clone() for key, tensor in second.state_dict().items()}

    def away(part: nn.Module, home: list[int]) -> list[bool]:
        return [tensor.data_ptr() != at for tensor, at in zip(part.state_dict().values(), home, strict=True)]

    hooks = OffloadHooks(CPU)
    hooks.onload(first)
    hooks.onload(second)
    assert not any(away(first, homes[0])) and all(away(second, homes[1]))
    assert all(torch.equal(tensor, weights[key]) for key, tensor in second.state_dict().items())
    there = [tensor.data_ptr() for tensor in second.state_dict().values()]
    hooks.onload(second)
    hooks.offload(first)
    assert [tensor.data_ptr() for tensor in second.state_dict().values()] == there
    hooks.offload()
    assert not any(away(second, homes[1]))


class Layers(nn.Module):
    """A head and two layers that share a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 3)
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(3, 3)) for _ in range(2))
        self.layers[1][0].bias = self.layers[0][0].bias  # type: ignore[index]


class Noted(PlainCopies):
    """Copies that note what was sent and waited for, and arrive at the second wait."""

    def __init__(self) -> None:
        super().__init__(CPU)
        self.events: list[str] = []

    def send(self, tensors: Sequence[Tensor]) -> Callable[[], bool]:
        number, waits = len([event for event in self.events if event.startswith("send")]), itertools.count()
        self.events.append(f"send {len(tensors)}")
        super().send(tensors)

        def wait() -> bool:
            self.events.append(f"wait {number}")
            return next(waits) > 0

        return wait

    def finish(self) -> None:
        self.events.append("finish")


def test_a_layer_waits_for_its_own_weights_alone_until_they_have_arrived() -> None:
    network, copies = Layers(), Noted()
    hooks = OffloadHooks(CPU, copies)
    hooks.onload(network)
    assert copies.events == ["send 2", "send 2", "send 1", "wait 0"]
    copies.events.clear()
    for _ in range(3):
        network.layers[1](torch.ones(1, 3))
    assert copies.events == ["wait 2", "wait 2"]  # by the layer, then by the module inside; they have come by then
    hooks.offload()
    network.layers[0](torch.ones(1, 3))
    assert copies.events == ["wait 2", "wait 2", "finish"], "an offloaded network waits for nothing"


def test_a_compiled_network_waits_for_all_of_its_weights_at_once() -> None:
    network, copies = Layers(), Noted()
    network.layers[0].compile(backend="eager")
    OffloadHooks(CPU, copies).onload(network)
    assert copies.events[3:] == ["wait 0", "wait 1", "wait 2"]


def test_memory_is_locked_once_in_place_and_unlocked_when_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    class Runtime:
        def cudaHostRegister(self, address: int, size: int, flags: int) -> int:
            calls.append(f"lock {size}")
            return 0 if size < 100 else 1

        def cudaHostUnregister(self, address: int) -> None:
            calls.append("unlock")

    monkeypatch.setattr(torch.cuda, "cudart", Runtime)
    weight = torch.zeros(10)
    at = weight.data_ptr()
    assert page_lock(weight) and page_lock(weight.view(2, 5)) and weight.data_ptr() == at
    assert not page_lock(torch.zeros(100))
    del weight
    assert calls == ["lock 40", "lock 400", "unlock"]


def test_offload_must_be_in_the_config_and_needs_another_device() -> None:
    with pytest.raises(ValueError, match="offload must be set in the config"):
        toy_pipeline().setup().offload_to(CPU)
    with pytest.raises(ValueError, match="offload has no use on the CPU"):
        load_pipeline(derive_config(toy_pipeline(), offload=True), CPU)


def test_a_pipeline_that_cannot_be_planned_loads_without_a_plan(caplog: pytest.LogCaptureFixture) -> None:
    assert toy_pipeline().memory_plan(8, 8) is None
    with caplog.at_level(logging.INFO):
        announce(None, CPU)
    assert not caplog.text and not load_pipeline(toy_pipeline(), CPU).training
