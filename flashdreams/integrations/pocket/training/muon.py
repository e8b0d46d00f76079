"""Muon, the optimizer of the matrices inside the blocks, in the precision that the processor computes fast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from flashdreams.core.precision import emulates_bf16

RMS = 0.2
"""Root mean square of an update at rate 1, which is about that of AdamW's."""


class ExactMuon(torch.optim.Muon):
    """`torch.optim.Muon` with updates of AdamW's size, in the weights' own type; torch's computes in bf16 always."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every weight that has a gradient; takes no closure."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, weight.grad, group)

    def _move(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state, momentum, rate = self.state[weight], group["momentum"], group["lr"]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        mean = state["momentum_buffer"].lerp_(gradient, 1 - momentum)
        update = orthogonalized(gradient.lerp(mean, momentum) if group["nesterov"] else mean, group)
        weight.mul_(1 - rate * group["weight_decay"])
        weight.add_(update, alpha=-rate * RMS * max(weight.shape) ** 0.5)


def muon(matrices: Sequence[Tensor], lr: float, weight_decay: float) -> torch.optim.Muon:
    """Return the optimizer of `matrices`: in fp32 on a CPU that emulates bf16, which is 19 times as fast.

    Its state is the same in both precisions, so that a run may go on at another machine.
    """
    exact = matrices[0].device.type == "cpu" and emulates_bf16()
    kind = ExactMuon if exact else torch.optim.Muon
    return kind(matrices, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")


def orthogonalized(matrix: Tensor, group: dict[str, Any]) -> Tensor:
    """Return `matrix` with singular values near one, by Newton-Schulz steps with the coefficients of `group`."""
    linear, cubic, quintic = group["ns_coefficients"]
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / x.norm().clamp_min(group["eps"])
    for _ in range(group["ns_steps"]):
        squares = x @ x.T
        x = linear * x + (cubic * squares + quintic * squares @ squares) @ x
    return x.T if tall else x
