"""Peak arithmetic of this machine, measured, and the arithmetic of a model."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from flashdreams.infra.profiler import EventProfiler

SIZES = ((1024, 1024, 1024), (2048, 2048, 2048), (576, 1536, 1536), (144, 2048, 2048))
"""(rows, inner, columns): large squares, and the tall thin products that a small transformer does."""


def operations(work: Callable[[], object]) -> float:
    """Floating-point operations of the matrix products, attentions and convolutions in `work`, in G."""
    # torch counts none for the fused attention of CPUs.
    on_cpus = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention}
    with FlopCounterMode(display=False, custom_mapping=on_cpus) as counter:
        work()
    return counter.get_total_flops() / 1e9


def _attention(q_shape: torch.Size, k_shape: torch.Size, v_shape: torch.Size, *rest: object, **more: object) -> int:
    return int(sdpa_flop_count(q_shape, k_shape, v_shape))


def matmul_peak(dtype: torch.dtype, seconds: float = 1.0) -> float:
    """Most GFLOP/s reached by a linear layer (weights held by output row, as `torch.nn.Linear` does) over `SIZES`."""
    return max(_rate(dtype, *size, seconds=seconds / len(SIZES)) for size in SIZES)


def _rate(dtype: torch.dtype, rows: int, inner: int, columns: int, seconds: float) -> float:
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(rows, inner, generator=generator).to(dtype)
    weight = torch.randn(columns, inner, generator=generator).to(dtype)
    with torch.inference_mode():
        for _ in range(3):
            torch.nn.functional.linear(left, weight)
        best = float("inf")
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            start = time.perf_counter()
            torch.nn.functional.linear(left, weight)
            best = min(best, time.perf_counter() - start)
    return 2 * rows * inner * columns / best / 1e9


def device_rates(device: torch.device, dtype: torch.dtype, size: int = 8192, repeats: int = 20) -> tuple[float, float]:
    """Most operations a second of a square matrix product on `device`, and most bytes a second of a copy, both ways."""
    generator = torch.Generator(device).manual_seed(0)
    matrix = torch.randn(size, size, generator=generator, device=device).to(dtype)
    product, copied = torch.empty_like(matrix), torch.empty(size, size, 4, device=device)
    source = torch.zeros_like(copied)
    seconds_of_product = _seconds(lambda: torch.mm(matrix, matrix, out=product), device, repeats)
    seconds_of_copy = _seconds(lambda: copied.copy_(source), device, repeats)
    return 2 * size**3 / seconds_of_product, 2 * copied.nbytes / seconds_of_copy


def _seconds(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Least time that `work` took."""
    best = float("inf")
    for _ in range(repeats):
        profiler = EventProfiler(device)
        work()
        profiler.record("work")
        best = min(best, profiler.elapsed_ms()["work"] / 1000)
    return best
