"""Convolutions in bf16 that are computed in fp32 where the processor emulates bf16."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from flashdreams.core import convolution

CASES = {
    "2d": (convolution.Conv2d, (2, 4, 9, 10), {"stride": 2}),
    "3d": (convolution.Conv3d, (2, 4, 5, 9, 10), {"padding": (0, 1, 1)}),
    "no bias": (convolution.Conv3d, (1, 4, 3, 6, 6), {"bias": False}),
}


def layer_and_input(case: str, dtype: torch.dtype) -> tuple[nn.Module, Tensor]:
    kind, shape, options = CASES[case]
    torch.manual_seed(0)
    made: nn.Module = kind(4, 6, 3, **options)  # type: ignore[arg-type]
    return made.to(dtype), torch.randn(shape).to(dtype)


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_an_emulated_bf16_is_computed_in_fp32_and_rounded_once(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution, "EMULATES_BF16", True)
    made, x = layer_and_input(case, torch.bfloat16)
    result = made(x)
    assert result.dtype is torch.bfloat16
    assert torch.equal(result, made.float()(x.float()).bfloat16())


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@torch.no_grad()
def test_all_else_is_torchs_own(case: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution, "EMULATES_BF16", dtype is torch.float32)
    made, x = layer_and_input(case, dtype)
    plain = nn.Conv2d if isinstance(made, nn.Conv2d) else nn.Conv3d
    assert torch.equal(made(x), plain._conv_forward(made, x, made.weight, made.bias))  # type: ignore[arg-type]


def test_weights_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution, "EMULATES_BF16", True)
    made, x = layer_and_input("2d", torch.bfloat16)
    made(x).float().sum().backward()
    for parameter in made.parameters():
        assert parameter.dtype is torch.bfloat16 and parameter.grad is not None
