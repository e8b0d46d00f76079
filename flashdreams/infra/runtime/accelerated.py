"""A streaming step made fast on a GPU: compiled at its first use, and a captured graph for each size of its input."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from flashdreams.infra.compile import compile_module
from flashdreams.infra.cuda_graph import CUDAGraphWrapper

MOST_GRAPHS = 4
"""Sizes of input whose captured graphs are kept: each holds memory of its own."""


class AcceleratedStep(ABC, nn.Module):
    """Base of codecs that go through a video step by step, with the memory that each step leaves for the next one.

    On a CPU, which gains little from compilation and would need a compiler and minutes for it, a step is a plain call.
    """

    config: Any

    def __init__(self, *, use_compile: bool, use_cuda_graph: bool, **others: Any) -> None:
        """`others` go to the class after this one, e.g. `config` to `StreamingDecoder`."""
        super().__init__(**others)
        self._use_compile, self._use_cuda_graph = use_compile, use_cuda_graph
        self._compiled = False
        self._graphs: dict[torch.Size, CUDAGraphWrapper[..., tuple[Tensor, list[Tensor]]]] = {}

    @abstractmethod
    def _network(self) -> nn.Module:
        """Compute one step; this is compiled."""

    @abstractmethod
    def _step(self, x: Tensor, before: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        """Return the output for `x` and the next memory; `before` is the last one, None at a rollout's first step."""

    def _accelerated(self, x: Tensor, before: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        """Return `_step(x, before)`.

        A step without memory is another computation than the others, and never captured.
        """
        if not x.is_cuda:
            return self._step(x, before)
        if self._use_compile and not self._compiled:
            compile_module(self._network())
            self._compiled = True
        if before is None or not self._use_cuda_graph:
            return self._step(x, before)
        return self._graph_of(x.shape)(x, before)

    def _graph_of(self, size: torch.Size) -> CUDAGraphWrapper[..., tuple[Tensor, list[Tensor]]]:
        """Return the graph of a size, and drop that of the size which was not used for the longest time."""
        graph = self._graphs.pop(size, None) or CUDAGraphWrapper(self._step)
        self._graphs[size] = graph
        if len(self._graphs) > MOST_GRAPHS:
            del self._graphs[next(iter(self._graphs))]
        return graph

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self._graphs.clear()  # A graph knows the addresses that the weights had.
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
