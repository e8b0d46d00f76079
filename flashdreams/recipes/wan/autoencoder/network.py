"""The encoder and decoder networks of Wan's video autoencoders 2.1 and 2.2, one latent frame per call.

Parameter names are those of the published files: `downsamples.<i>` of 2.1 is one layer, of 2.2 a whole stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from flashdreams.recipes.wan.autoencoder.layers import (
    CausalConv3d,
    CausalSequential,
    Downsample,
    DownStage,
    FrameAttention,
    Memory,
    ResidualBlock,
    RMSNorm,
    Upsample,
    UpStage,
)

SPACE_RATIO = 8
"""Positions along a side to one of a latent, inside of the patches."""
TIME_RATIO = 4
"""Frames to a latent, the first of a rollout aside."""
SETTLED_FROM = 29
"""Index of the latent from which on the encoder's latents of a video are all the same, bit for bit, when its frames are
from the second on: a latent sees 18 before it after the last halving of the frame rate, and each of these sees as much
as 10 latents of frames; at most the picture and the zeros before it are further back."""

_WIDTHS = (1, 2, 4, 4)
_HALVES_TIME = (False, True, True)
_BLOCKS = 2


class VideoEncoder(nn.Module):
    """Frames to the mean and log variance of a latent, before the last 1x1 convolution."""

    def __init__(self, in_channels: int, dim: int, z_dim: int, residual: bool) -> None:
        """`dim`: channels of the first stage; `residual`: stages with averaging shortcuts, as in 2.2."""
        super().__init__()
        widths = [dim * width for width in _WIDTHS]
        self.conv1 = CausalConv3d(in_channels, dim)
        self.downsamples = CausalSequential(*_down_layers([dim, *widths], residual))
        self.middle = _middle(widths[-1])
        self.head = _head(widths[-1], 2 * z_dim)

    def forward(self, x: Tensor, before: Sequence[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        """`x [B, C, T, H, W] -> [B, 2 z_dim, 1, H / 8, W / 8]` and what the next call takes as `before`.

        T is 1 with `before=None`, at a rollout's first call, and 4 at the others.
        """
        memory = Memory(before)
        x = self.downsamples(self.conv1(x, memory), memory)
        return self.head(self.middle(x, memory), memory), memory.after


class VideoDecoder(nn.Module):
    """A latent, after the first 1x1 convolution, to frames."""

    def __init__(self, out_channels: int, dim: int, z_dim: int, residual: bool) -> None:
        """`dim`: channels of the last stage; `residual`: stages with repeating shortcuts, as in 2.2."""
        super().__init__()
        widths = [dim * width for width in reversed(_WIDTHS)]
        self.conv1 = CausalConv3d(z_dim, widths[0])
        self.middle = _middle(widths[0])
        self.upsamples = CausalSequential(*_up_layers([widths[0], *widths], residual))
        self.head = _head(widths[-1], out_channels)

    def forward(self, x: Tensor, before: Sequence[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        """`x [B, z_dim, 1, h, w] -> [B, C, T, 8 h, 8 w]` and what the next call takes as `before`.

        T is 1 with `before=None`, at a rollout's first call, and 4 at the others.
        """
        memory = Memory(before)
        x = self.middle(self.conv1(x, memory), memory)
        return self.head(self.upsamples(x, memory), memory), memory.after


def _middle(channels: int) -> CausalSequential:
    before, after = ResidualBlock(channels, channels), ResidualBlock(channels, channels)
    return CausalSequential(before, FrameAttention(channels), after)


def _head(channels: int, out_channels: int) -> CausalSequential:
    return CausalSequential(RMSNorm(channels), nn.SiLU(inplace=True), CausalConv3d(channels, out_channels))


def _blocks(in_channels: int, out_channels: int, count: int) -> list[nn.Module]:
    return [ResidualBlock(out_channels if i else in_channels, out_channels) for i in range(count)]


def _down_layers(widths: Sequence[int], residual: bool) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for stage, (width, following) in enumerate(pairwise(widths)):
        blocks, last = _blocks(width, following, _BLOCKS), stage == len(_HALVES_TIME)
        if not last:
            blocks.append(Downsample(following, _HALVES_TIME[stage]))
        time, space = (1, 1) if last else (1 + _HALVES_TIME[stage], 2)
        layers += [DownStage(blocks, following, time, space)] if residual else blocks
    return layers


def _up_layers(widths: Sequence[int], residual: bool) -> list[nn.Module]:
    layers: list[nn.Module] = []
    doubles_time = _HALVES_TIME[::-1]
    for stage, (width, following) in enumerate(pairwise(widths)):
        # In 2.1 each upsampling has halved the channels already.
        blocks = _blocks(width if residual or stage == 0 else width // 2, following, _BLOCKS + 1)
        last = stage == len(doubles_time)
        if not last:
            blocks.append(Upsample(following, following if residual else following // 2, doubles_time[stage]))
        time, space = (1, 1) if last else (1 + doubles_time[stage], 2)
        layers += [UpStage(blocks, following, time, space)] if residual else blocks
    return layers
