"""Weights that come to the device late: what reads one without waiting for it gets no numbers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from flashdreams.infra.diffusion.transformer.base import Transformer
from flashdreams.infra.memory.offload import OffloadHooks, PlainCopies


class LateCopies(PlainCopies):
    """Copies whose weights are not numbers until somebody waits for them."""

    def send(self, tensors: Sequence[Tensor]) -> Callable[[], bool]:
        homes = [tensor.data for tensor in tensors]
        for tensor in tensors:
            tensor.data = torch.full_like(tensor.data, float("nan") if tensor.is_floating_point() else 77)
        calls = itertools.count()

        def wait() -> bool:
            if (call := next(calls)) == 0:
                for tensor, home in zip(tensors, homes, strict=True):
                    tensor.data = home.clone()
            return call > 0

        return wait


@contextmanager
def weights_come_late(pipeline: Any) -> Iterator[None]:
    """Offload the networks of a pipeline meanwhile, with copies that come late."""
    hooks = pipeline.offload_hooks = OffloadHooks(pipeline.device, LateCopies(pipeline.device))
    transformers = [module for module in pipeline.modules() if isinstance(module, Transformer)]
    for module in transformers:
        module.offload_hooks = hooks
    try:
        yield
    finally:
        hooks.offload()
        for module in (pipeline, *transformers):
            module.offload_hooks = None
