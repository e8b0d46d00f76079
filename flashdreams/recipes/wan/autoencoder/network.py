"""The encoder and decoder networks of Wan's video autoencoders 2.1 and 2.2, one latent frame per call.

Parameter names are those of the published files: `downsamples.<i>` of 2.1 is one layer, of 2.2 a whole stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from flashdreams.recipes.wan.autoencoder.layers import (
    TEMPORAL_WINDOW,
    AttentionBlock,
    CausalConv3d,
    CausalSequential,
    Resample,
    ResidualBlock,
    ResidualDownBlock,
    ResidualUpBlock,
    RMS_norm,
    State,
    check_no_attention,
    number_layers,
    residual_blocks,
)

SPACE_RATIO = 8
"""Positions along a side to one of a latent, inside of the patches."""
TIME_RATIO = TEMPORAL_WINDOW
"""Frames to a latent, the first of a rollout aside."""
SETTLED_FROM = 29
"""Number of latents of blank frames after which all further ones are the same, bit for bit: a latent sees 18 before it
after the last halving of the frame rate, and each of these sees as much as 10 latents of frames."""


class Encoder3d(nn.Module):
    """Frames to the mean and log variance of a latent, before the last 1x1 convolution."""

    def __init__(
        self,
        dim: int = 128,
        z_dim: int = 4,
        dim_mult: Sequence[int] = (1, 2, 4, 4),
        num_res_blocks: int = 2,
        attn_scales: Sequence[float] = (),
        temperal_downsample: Sequence[bool] = (True, True, False),
        dropout: float = 0.0,
        pruning_rate: float = 0.0,
        in_channels: int = 3,
        is_residual: bool = False,
    ) -> None:
        """`dim`: channels of the first stage, before `pruning_rate` takes its share; `z_dim`: channels that come out.

        `temperal_downsample` says which stages halve the frames; `is_residual`: stages with averaging shortcuts, as in
        2.2.
        """
        super().__init__()
        check_no_attention(attn_scales)
        dim = round(dim * (1 - pruning_rate))
        widths = [dim, *(dim * width for width in dim_mult)]
        self.conv1 = CausalConv3d(in_channels, dim, 3, padding=1)
        layers: list[nn.Module] = []
        for stage, (width, following) in enumerate(pairwise(widths)):
            last = stage == len(dim_mult) - 1
            temporal = not last and bool(temperal_downsample[stage])
            if is_residual:
                layers.append(ResidualDownBlock(width, following, dropout, num_res_blocks, temporal, not last))
                continue
            layers += residual_blocks(width, following, num_res_blocks, dropout)
            if not last:
                layers.append(Resample(following, "downsample3d" if temporal else "downsample2d"))
        self.downsamples = CausalSequential(*layers)
        self.middle = _middle(widths[-1], dropout)
        self.head = _head(widths[-1], z_dim)
        number_layers(self)

    def forward(self, x: torch.Tensor, state: State) -> torch.Tensor:
        """`x [B, C, T, H, W] -> [B, z_dim, 1, H / 8, W / 8]`; the state is changed to that of the next call.

        T is 1 with an empty `state`, at a rollout's first call, and 4 at the others.
        """
        x = self.downsamples(self.conv1.cache_step(x, state), state)
        return self.head(self.middle(x, state), state)

    def normalize_state_for_body(self, state: State) -> None:
        """Change nothing: after a rollout's first call its state has the shapes of all further calls."""


class Decoder3d(nn.Module):
    """A latent, after the first 1x1 convolution, to frames."""

    def __init__(
        self,
        dim: int = 128,
        z_dim: int = 4,
        dim_mult: Sequence[int] = (1, 2, 4, 4),
        num_res_blocks: int = 2,
        attn_scales: Sequence[float] = (),
        temperal_upsample: Sequence[bool] = (False, True, True),
        dropout: float = 0.0,
        pruning_rate: float = 0.0,
        out_channels: int = 3,
        is_residual: bool = False,
    ) -> None:
        """`dim`: channels of the last stage, before `pruning_rate` takes its share.

        `temperal_upsample` says which stages double the frames; `is_residual`: stages with repeating shortcuts, as in
        2.2.
        """
        super().__init__()
        check_no_attention(attn_scales)
        dim = round(dim * (1 - pruning_rate))
        widths = [dim * dim_mult[-1], *(dim * width for width in reversed(dim_mult))]
        self.conv1 = CausalConv3d(z_dim, widths[0], 3, padding=1)
        layers: list[nn.Module] = []
        for stage, (width, following) in enumerate(pairwise(widths)):
            last = stage == len(dim_mult) - 1
            temporal = not last and bool(temperal_upsample[stage])
            if is_residual:
                layers.append(ResidualUpBlock(width, following, num_res_blocks + 1, dropout, temporal, not last))
                continue
            # In 2.1 each upsampling has halved the channels already.
            layers += residual_blocks(width if stage == 0 else width // 2, following, num_res_blocks + 1, dropout)
            if not last:
                layers.append(Resample(following, "upsample3d" if temporal else "upsample2d"))
        self.middle = _middle(widths[0], dropout)
        self.upsamples = CausalSequential(*layers)
        self.head = _head(widths[-1], out_channels)
        number_layers(self)

    def forward(self, x: torch.Tensor, state: State, first_chunk: bool = False) -> torch.Tensor:
        """`x [B, z_dim, 1, h, w] -> [B, C, T, 8 h, 8 w]`; the state is changed to that of the next call.

        T is 1 at a rollout's first call, whose `state` is empty, and 4 at the others.
        """
        first_chunk = first_chunk or not state
        x = self.middle(self.conv1.cache_step(x, state), state)
        return self.head(self.upsamples(x, state, first_chunk=first_chunk), state)


def _middle(channels: int, dropout: float) -> CausalSequential:
    before, after = (ResidualBlock(channels, channels, dropout) for _ in range(2))
    return CausalSequential(before, AttentionBlock(channels), after)


def _head(channels: int, out_channels: int) -> CausalSequential:
    norm = RMS_norm(channels, images=False)
    return CausalSequential(norm, nn.SiLU(inplace=True), CausalConv3d(channels, out_channels, 3, padding=1))
