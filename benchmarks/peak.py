"""The fastest matrix product this processor does with PyTorch, measured: what a model's speed is a share of."""

from __future__ import annotations

import time

import torch

SIZES = ((1024, 1024, 1024), (2048, 2048, 2048), (576, 1536, 1536), (144, 2048, 2048))
"""(rows, inner, columns): large squares, and the tall thin products that a small transformer does."""


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
