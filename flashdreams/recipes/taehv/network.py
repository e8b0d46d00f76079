"""The tiny video decoder's layers: memory blocks that see the previous frame, growing 8x in space and 4x in time.

Key names are those of the published tiny autoencoders (`decoder.<i>.*`), so their files load as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Clamp(nn.Module):
    """Soft clamp of latents to +-3."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / 3) * 3


class MemBlock(nn.Module):
    """Residual block over a frame and the one before it."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(2 * n_in, n_out, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(n_out, n_out, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(n_out, n_out, 3, padding=1),
        )
        self.skip = nn.Conv2d(n_in, n_out, 1, bias=False) if n_in != n_out else nn.Identity()
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor, past: Tensor) -> Tensor:
        """`x` and `past`: `[N, C, H, W]`, `past[n]` being the frame before `x[n]`."""
        return self.act(self.conv(torch.cat([x, past], 1)) + self.skip(x))


class TGrow(nn.Module):
    """One frame becomes `stride` frames."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(channels, channels * stride, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, H, W] -> [N * stride, C, H, W]`, frames in order."""
        x = self.conv(x)
        n, c, h, w = x.shape
        return x.reshape(n * self.stride, c // self.stride, h, w)


def decoder_layers(latent_channels: int, widths: Sequence[int], patch_size: int, time_growth: Sequence[int]) -> nn.Sequential:
    """The decoder as a flat list: layer `i` is the checkpoint's `decoder.<i>`."""
    layers: list[nn.Module] = [Clamp(), nn.Conv2d(latent_channels, widths[0], 3, padding=1), nn.ReLU(inplace=True)]
    for width, following, growth in zip(widths, widths[1:], time_growth, strict=False):
        layers += [MemBlock(width, width) for _ in range(3)]
        layers += [nn.Upsample(scale_factor=2), TGrow(width, growth), nn.Conv2d(width, following, 3, padding=1, bias=False)]
    layers += [nn.ReLU(inplace=True), nn.Conv2d(widths[-1], 3 * patch_size**2, 3, padding=1)]
    return nn.Sequential(*layers)


def run_decoder(layers: nn.Sequential, latent: Tensor, memory: list[Tensor | None], patch_size: int) -> Tensor:
    """Decode consecutive latents `[B, T, C, h, w]` to pixels `[B, T * growth, 3, H, W]`, nominally in [0, 1].

    `memory` holds, for each memory block, the last frame that it saw (`None` before the first: zeros), and is advanced
    in place; so any split of a clip into calls gives the same pixels as one call.
    """
    b, t = latent.shape[:2]
    x = latent.flatten(0, 1)
    block = 0
    for layer in layers:
        if isinstance(layer, MemBlock):
            frames = x.unflatten(0, (b, -1))
            before = memory[block]
            first = torch.zeros_like(frames[:, :1]) if before is None else before.to(x.dtype)
            memory[block] = frames[:, -1:]
            x = layer(x, torch.cat([first, frames[:, :-1]], 1).flatten(0, 1))
            block += 1
        else:
            x = layer(x)
    if patch_size > 1:
        x = F.pixel_shuffle(x, patch_size)
    return x.unflatten(0, (b, -1))
