"""Which number type a processor is fastest in: measured at start, since many CPUs have bf16 in name only."""

from __future__ import annotations

import logging
import time

import torch

from flashdreams.core.distributed import agree_on, all_processes

logger = logging.getLogger(__name__)

_CHOICES = (torch.bfloat16, torch.float32)


def fastest_dtype(device: torch.device) -> torch.dtype:
    """bf16 or fp32, whichever multiplies matrices faster on `device`; bf16 on GPUs. Takes some 50 ms and is logged.

    Processes that share a model must compute alike: all take what the first one found, and all must call.
    """
    if device.type == "cuda":
        return torch.bfloat16
    if device.type != "cpu":
        return torch.float32
    speed = {dtype: _gflops(dtype) for dtype in _CHOICES}
    best = max(speed, key=lambda dtype: speed[dtype])
    if (group := all_processes()) is not None:
        best = _CHOICES[agree_on(_CHOICES.index(best), group, device)]
    rates = ", ".join(f"{str(dtype).removeprefix('torch.')} {rate:.0f}" for dtype, rate in speed.items())
    logger.info("matrix products reach %s GFLOP/s: using %s", rates, str(best).removeprefix("torch."))
    return best


@torch.no_grad()
def _gflops(dtype: torch.dtype) -> float:
    rows, inner, columns = 144, 288, 864
    x, weight = torch.randn(rows, inner).to(dtype), torch.randn(columns, inner).to(dtype)
    best = float("inf")
    for _ in range(8):
        start = time.perf_counter()
        for _ in range(10):
            torch.nn.functional.linear(x, weight)
        best = min(best, (time.perf_counter() - start) / 10)
    return 2 * rows * inner * columns / best / 1e9
