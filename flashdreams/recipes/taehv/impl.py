"""The tiny video decoder's layers: memory blocks that see the previous frame, growing 8x in space and 4x in time.

Parameter names are those of the published tiny autoencoders, whose `decoder.<i>` is layer `i` here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BLOCKS_PER_STAGE = 3
TIME_GROWTH = (1, 2, 2)
"""Frames that each stage makes of one."""
TIME_RATIO = 4
SPACE_RATIO = 8


class Clamp(nn.Module):
    """Soft clamp of latents to +-3."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / 3) * 3


class MemBlock(nn.Module):
    """Residual block over a frame and the one before it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(2 * channels, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
        )
        self.channels = channels

    def forward(self, x: Tensor, past: Tensor) -> Tensor:
        """`x` and `past`: `[N, C, H, W]`, `past[n]` being the frame before `x[n]`."""
        return F.relu_(self.conv(torch.cat([x, past], 1)) + x)


class Grow(nn.Module):
    """One frame becomes `stride` frames of twice the height and width.

    The published layers enlarge first. A 1x1 convolution and copying pixels commute, and this way round the
    convolution costs a quarter.
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(channels, channels * stride, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, H, W] -> [N * stride, C, 2 H, 2 W]`, frames in order."""
        x = self.conv(x).unflatten(1, (self.stride, -1)).flatten(0, 1)
        return F.interpolate(x, scale_factor=2, mode="nearest")


class TinyDecoder(nn.Sequential):
    """Consecutive latents to pixels, given the memory that the ones before left."""

    def __init__(self, latent_channels: int, widths: Sequence[int], patch_size: int) -> None:
        """`widths`: channels of the three stages and of the output; `patch_size`: pixels along a side of an output."""
        layers: list[nn.Module] = [Clamp(), nn.Conv2d(latent_channels, widths[0], 3, padding=1), nn.ReLU(inplace=True)]
        for width, following, growth in zip(widths[:-1], widths[1:], TIME_GROWTH, strict=True):
            layers += [MemBlock(width) for _ in range(BLOCKS_PER_STAGE)]
            layers += [nn.Identity(), Grow(width, growth), nn.Conv2d(width, following, 3, padding=1, bias=False)]
        layers += [nn.ReLU(inplace=True), nn.Conv2d(widths[-1], 3 * patch_size**2, 3, padding=1)]
        super().__init__(*layers)
        self.patch_size = patch_size

    def empty_memory(self, latent: Tensor) -> list[Tensor]:
        """What the memory blocks see before the first frame of latents like `latent [B, T, C, h, w]`: zeros."""
        (b, _, _, h, w), channels = latent.shape, [layer.channels for layer in self if isinstance(layer, MemBlock)]
        scales = [2 ** (block // BLOCKS_PER_STAGE) for block in range(len(channels))]
        return [latent.new_zeros(b, c, h * s, w * s) for c, s in zip(channels, scales, strict=True)]

    def forward(  # type: ignore[override]
        self, latent: Tensor, memory: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """Latents `[B, T, C, h, w]` -> pixels `[B, 4 T, 3, H, W]`, nominally in [0, 1], and the memory after them.

        `memory` holds the last frame `[B, C, H, W]` that each memory block saw, so that any split of a clip into
        calls gives what one call gives.
        """
        batch, x = latent.shape[0], latent.flatten(0, 1)
        before, after = iter(memory), []
        for layer in self:
            if isinstance(layer, MemBlock):
                after.append(x.unflatten(0, (batch, -1))[:, -1].clone())
                x = layer(x, _one_frame_earlier(x, before, batch))
            else:
                x = layer(x)
        if self.patch_size > 1:
            x = F.pixel_shuffle(x, self.patch_size)
        return x.unflatten(0, (batch, -1)), after


def _one_frame_earlier(x: Tensor, before: Iterator[Tensor], batch: int) -> Tensor:
    """For each of the frames `[B T, C, H, W]` the one before it, the first being the next of `before`."""
    frames = x.unflatten(0, (batch, -1))
    return torch.cat([next(before).unsqueeze(1), frames[:, :-1]], 1).flatten(0, 1)
