"""Networks that take turns: one on the device, the others where they were, the same weights throughout."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import nn

from flashdreams.infra.config.base import derive_config
from flashdreams.infra.memory.offload import OffloadHooks, page_lock
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
