"""The network of tiles: a convolutional U-Net with attention at its coarsest grids; it predicts the clean state."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flashdreams.integrations.pocket.land.kinds import CONDITION
from flashdreams.integrations.pocket.land.state import CHANNELS

_TIME = 192
"""Width of what is known of the noise level."""
_FREQUENCIES = 32


class TileNetwork(nn.Module):
    """Clean states `[N, 45, H, W]` from noisy ones, the known part, its mask `[N, 1, H, W]` and conditions.

    H and W are multiples of 8.
    """

    frequencies: Tensor

    def __init__(self, widths: tuple[int, int, int, int], blocks: int, heads: int) -> None:
        super().__init__()
        w0, w1, w2, w3 = widths
        self.register_buffer("frequencies", torch.logspace(-1, 3, _FREQUENCIES), persistent=False)
        self.time = nn.Sequential(
            nn.Linear(2 * _FREQUENCIES + CONDITION, _TIME), nn.SiLU(), nn.Linear(_TIME, _TIME), nn.SiLU()
        )
        self.stem = nn.Conv2d(2 * CHANNELS + 1, w0, 3, padding=1)
        self.down1 = nn.Conv2d(w0, w1, 4, 2, 1)
        self.place1 = nn.Conv2d(CONDITION, w1, 1)
        self.enter1 = _stack(w1, w1, blocks)
        self.down2 = nn.Conv2d(w1, w2, 4, 2, 1)
        self.place2 = nn.Conv2d(CONDITION, w2, 1)
        self.enter2 = _stack(w2, w2, blocks)
        self.attend2 = Attention(w2, heads)
        self.down3 = nn.Conv2d(w2, w3, 4, 2, 1)
        self.deep = _stack(w3, w3, blocks)
        self.attend3 = Attention(w3, heads)
        self.deeper = _stack(w3, w3, 1)
        self.up3 = nn.Conv2d(w3, w2, 1)
        self.attend_up = Attention(w2, heads)
        self.leave2 = _stack(2 * w2, w2, blocks)
        self.up2 = nn.Conv2d(w2, w1, 1)
        self.leave1 = _stack(2 * w1, w1, blocks)
        self.up1 = nn.Conv2d(w1, 4 * w0, 3, padding=1)
        self.last = ResidualBlock(w0, w0)
        self.norm = nn.GroupNorm(8, w0)
        self.head = nn.Conv2d(w0, CHANNELS, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, noisy: Tensor, level: Tensor, known: Tensor, mask: Tensor, condition: Tensor) -> Tensor:
        """Predict from `noisy` at noise `level [N]` in 0..1; `condition` is `[N, 19, H, W]`."""
        phase = level.float()[:, None] * self.frequencies
        told = self.time(torch.cat([phase.sin(), phase.cos(), condition.mean((2, 3))], 1))
        # Scaled so that the network's input keeps its size at every level.
        scale = torch.rsqrt(level * level + (1 - level) ** 2 * 0.5).view(-1, 1, 1, 1)
        rows = torch.cat([noisy * scale, known * mask, mask], 1).contiguous(memory_format=torch.channels_last)
        stem = self.stem(rows)
        near = F.avg_pool2d(condition, 2)
        h1 = self.down1(F.silu(stem)) + self.place1(near)
        h1 = _run(self.enter1, h1, told)
        h2 = self.down2(h1) + self.place2(F.avg_pool2d(near, 2))
        h2 = self.attend2(_run(self.enter2, h2, told))
        h3 = self.attend3(_run(self.deep, self.down3(h2), told))
        h3 = _run(self.deeper, h3, told)
        h = F.interpolate(self.up3(h3), scale_factor=2, mode="nearest")
        h = self.attend_up(_run(self.leave2, torch.cat([h, h2], 1), told))
        h = F.interpolate(self.up2(h), scale_factor=2, mode="nearest")
        h = _run(self.leave1, torch.cat([h, h1], 1), told)
        h = self.last(F.pixel_shuffle(self.up1(h), 2) + stem, told)
        return self.head(F.silu(self.norm(h))).float()


class ResidualBlock(nn.Module):
    """Two convolutions beside a skip; the noise level scales and shifts between them."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, n_in), nn.GroupNorm(8, n_out)
        self.conv1, self.conv2 = nn.Conv2d(n_in, n_out, 3, padding=1), nn.Conv2d(n_out, n_out, 3, padding=1)
        self.told = nn.Linear(_TIME, 2 * n_out)
        self.skip = nn.Identity() if n_in == n_out else nn.Conv2d(n_in, n_out, 1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.told.weight)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """`x [N, C, h, w]` and what is told of the noise level `[N, 192]`."""
        scale, shift = self.told(told)[:, :, None, None].chunk(2, 1)
        h = self.conv1(F.silu(self.norm1(x)))
        h = F.silu(self.norm2(h) * (1 + scale) + shift)
        return self.skip(x) + self.conv2(h)


class Attention(nn.Module):
    """Self-attention among all cells of a coarse grid."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(8, width)
        self.qkv, self.out = nn.Conv2d(width, 3 * width, 1), nn.Conv2d(width, width, 1)
        self.spot = nn.Parameter(torch.randn(1, width, 12, 12) * 0.02)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor) -> Tensor:
        """`x [N, C, h, w]`."""
        n, c, h, w = x.shape
        spot = F.interpolate(self.spot, (h, w), mode="bilinear")
        q, k, v = self.qkv(self.norm(x + spot)).flatten(2).unflatten(1, (3, self.heads, c // self.heads)).unbind(1)
        weight = (q.transpose(-1, -2) @ k * (1 / math.sqrt(q.shape[-2]))).softmax(-1)
        return x + self.out((v @ weight.transpose(-1, -2).to(v.dtype)).reshape(n, c, h, w))


def _stack(n_in: int, n_out: int, count: int) -> nn.ModuleList:
    return nn.ModuleList([ResidualBlock(n_in if i == 0 else n_out, n_out) for i in range(count)])


def _run(blocks: nn.ModuleList, x: Tensor, told: Tensor) -> Tensor:
    for block in blocks:
        x = block(x, told)
    return x
