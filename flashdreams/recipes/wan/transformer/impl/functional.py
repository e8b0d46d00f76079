"""Small parts of a transformer block: the timestep's sinusoid, modulation over runs of tokens, norm and activation."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def sinusoidal_embedding_1d(dim: int, position: Tensor) -> Tensor:
    """Return the sinusoidal embedding fp32 `[..., dim]` of `position [...]`: cosines, then sines, computed in fp64."""
    half, device = dim // 2, position.device
    if device.type == "mps":  # It has no fp64.
        position = position.cpu()
    speeds = torch.pow(10000.0, -torch.arange(half, dtype=torch.float64, device=position.device) / half)
    angles = position.to(torch.float64).unsqueeze(-1) * speeds
    return torch.cat([angles.cos(), angles.sin()], dim=-1).float().to(device)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Return `x (1 + scale) + shift`: `x [..., L, D]`, `shift` and `scale [..., G, D]` for G equal runs of tokens."""
    return shifted_product(x, shift, 1 + scale)


def shifted_product(x: Tensor, shift: Tensor, factor: Tensor) -> Tensor:
    """Return `x factor + shift`, for runs of tokens as in `modulate`."""
    groups = shift.shape[-2]
    if groups == 1 or groups == x.shape[-2]:
        return torch.addcmul(shift, x, factor)
    runs = x.unflatten(-2, (groups, -1))
    return torch.addcmul(shift.unsqueeze(-2), runs, factor.unsqueeze(-2)).flatten(-3, -2)


def gated_sum(x: Tensor, y: Tensor, gate: Tensor) -> Tensor:
    """Return `x + y gate`, the gate given for runs of tokens as in `modulate`."""
    groups = gate.shape[-2]
    if groups == 1 or groups == x.shape[-2]:
        return torch.addcmul(x, y, gate)
    runs = (groups, -1)
    return torch.addcmul(x.unflatten(-2, runs), y.unflatten(-2, runs), gate.unsqueeze(-2)).flatten(-3, -2)


class RMSNorm(nn.Module):
    """Root-mean-square norm over the last dimension, statistics in fp32."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_grad_enabled():
            return F.rms_norm(x, (x.shape[-1],), self.weight, self.eps)
        # On a CPU torch's own allocates several tensors of this size, which takes up to four times as long.
        mean_square = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1])
        return (x * mean_square.add_(self.eps).rsqrt_()).mul_(self.weight)


class TanhGELU(nn.Module):
    """GELU in its tanh form; in place without gradients, since a block's widest tensor is costly to allocate again."""

    def forward(self, x: Tensor) -> Tensor:
        if x.requires_grad or torch.compiler.is_compiling():
            return F.gelu(x, approximate="tanh")
        return torch.ops.aten.gelu_(x, approximate="tanh")
