"""Convolutions that are fast in bf16 on every CPU: one that only emulates bf16 computes them in fp32 and rounds.

torch has no fast code for bf16 on such a processor: at the sizes of Wan's autoencoder it takes 200 times as long.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from flashdreams.core.precision import emulates_bf16

EMULATES_BF16 = emulates_bf16()
"""True if this machine's processor has no bf16 of its own."""


class Conv2d(nn.Conv2d):
    """`torch.nn.Conv2d`, except on a CPU that emulates bf16."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return _convolved(super()._conv_forward, input, weight, bias)


class Conv3d(nn.Conv3d):
    """`torch.nn.Conv3d`, except on a CPU that emulates bf16."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return _convolved(super()._conv_forward, input, weight, bias)


def _convolved(convolve: Callable[..., Tensor], x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if not (EMULATES_BF16 and x.dtype is torch.bfloat16 and x.device.type == "cpu"):
        return convolve(x, weight, bias)
    return convolve(x.float(), weight.float(), None if bias is None else bias.float()).to(x.dtype)
