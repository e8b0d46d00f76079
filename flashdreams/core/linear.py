"""Linear layers that are fast in bf16 on every CPU: one that only emulates bf16 computes them in fp32 and rounds.

On such a processor torch's bf16 products take six to thirteen times as long.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flashdreams.core.precision import emulates_bf16

EMULATES_BF16 = emulates_bf16()
"""True if this machine's processor has no bf16 of its own."""


class Linear(nn.Linear):
    """`torch.nn.Linear`, except on a CPU that emulates bf16."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the product, in the type of `input`."""
        if not (EMULATES_BF16 and input.dtype is torch.bfloat16 and input.device.type == "cpu"):
            return super().forward(input)
        bias = None if self.bias is None else self.bias.float()
        return nn.functional.linear(input.float(), self.weight.float(), bias).to(input.dtype)


def use_fast_linear(network: nn.Module) -> None:
    """Let the linear layers of another library's `network` compute as `Linear` does."""
    for module in network.modules():
        if type(module) is nn.Linear:
            module.__class__ = Linear
