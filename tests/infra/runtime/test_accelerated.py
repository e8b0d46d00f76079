"""A streaming step on a GPU is compiled and captured once per size; on a CPU it is a plain call."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from flashdreams.infra.runtime.accelerated import MOST_GRAPHS, AcceleratedStep


class Sums(AcceleratedStep):
    """Adds up what it is given, scaled by its weight."""

    def __init__(self, use_cuda_graph: bool = True) -> None:
        super().__init__(use_compile=False, use_cuda_graph=use_cuda_graph)
        self.scale = nn.Linear(1, 1, bias=False).requires_grad_(False)
        self.calls = 0

    def _network(self) -> nn.Module:
        return self.scale

    def _step(self, x: Tensor, before: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        self.calls += 1
        total = x * self.scale.weight if before is None else before[0] + x * self.scale.weight
        return total, [total]


def sums_of(module: Sums, steps: int, size: int = 2) -> list[float]:
    memory, found = None, []
    for i in range(steps):
        total, memory = module._accelerated(torch.full((size,), float(i), device=module.scale.weight.device), memory)
        found.append(total.flatten()[0].item())
    return found


def test_on_a_cpu_every_step_is_a_plain_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flashdreams.infra.runtime.accelerated.compile_module", lambda module: pytest.fail("compiled"))
    module = Sums()
    module._use_compile = True
    nn.init.ones_(module.scale.weight)
    assert sums_of(module, 5) == [0, 1, 3, 6, 10]
    assert module.calls == 5 and not module._graphs


def test_graphs_of_the_sizes_used_last_are_kept() -> None:
    module = Sums()
    sizes = [torch.Size([side]) for side in range(1, 8)]
    first = module._graph_of(sizes[0])
    for size in sizes[1:4]:
        module._graph_of(size)
    assert module._graph_of(sizes[0]) is first
    for size in sizes[4:7]:
        module._graph_of(size)
    assert list(module._graphs) == [sizes[0], *sizes[4:7]] and len(module._graphs) == MOST_GRAPHS
    assert module._graph_of(sizes[0]) is first


def test_a_step_and_what_is_compiled_must_be_given() -> None:
    with pytest.raises(TypeError, match="abstract"):
        AcceleratedStep(use_compile=False, use_cuda_graph=False)  # type: ignore[abstract]


@pytest.mark.gpu
def test_each_size_has_a_graph_which_moved_weights_end() -> None:
    module = Sums().cuda()
    nn.init.ones_(module.scale.weight)
    assert sums_of(module, 6) == sums_of(module, 6) == [0, 1, 3, 6, 10, 15]
    calls = module.calls
    assert calls == 2 + 2 + 1 and len(module._graphs) == 1  # two first steps, two to warm up, one captured
    assert sums_of(module, 5, size=3) == [0, 1, 3, 6, 10] and len(module._graphs) == 2
    module.cpu().cuda()
    assert not module._graphs
    nn.init.constant_(module.scale.weight, 2.0)
    assert sums_of(module, 6) == [0, 2, 6, 12, 20, 30]


@pytest.mark.gpu
def test_without_graphs_every_step_is_a_plain_call_on_a_gpu_too() -> None:
    module = Sums(use_cuda_graph=False).cuda()
    nn.init.ones_(module.scale.weight)
    assert sums_of(module, 4) == [0, 1, 3, 6] and module.calls == 4
