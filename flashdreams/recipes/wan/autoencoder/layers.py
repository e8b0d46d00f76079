"""Layers of Wan's video autoencoders: causal in time, the frames they have seen handed in and out by the caller.

A rollout's first call takes the one frame that stands for its first latent, every later call whole latents. Parameter
names are those of the published files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from einops import rearrange, reduce
from torch import Tensor, nn
from torch.nn import functional as F

_SEEN = 2
"""Frames that a causal convolution sees besides the newest."""


class Memory:
    """What the layers saw in the calls before, given out in the order in which they run, and what they see in this."""

    def __init__(self, before: Sequence[Tensor] | None) -> None:
        """`before`: the `after` of the rollout's last call; None at its first."""
        self._before = None if before is None else iter(before)
        self.after: list[Tensor] = []

    @property
    def first(self) -> bool:
        """Whether this is the rollout's first call."""
        return self._before is None

    def take(self) -> Tensor | None:
        """The frames that the layer now running kept in the last call; None at the first."""
        return None if self._before is None else next(self._before)

    def keep(self, frames: Tensor) -> None:
        """Remember `frames [B, C, T, H, W]` for the next call. They are copied: a view would hold all of its tensor."""
        self.after.append(frames.clone())


class Causal(nn.Module):
    """A layer that is called with the memory."""


class CausalSequential(Causal, nn.Sequential):
    """Layers one after another, of which some want the memory."""

    def forward(self, x: Tensor, memory: Memory) -> Tensor:  # type: ignore[override]
        for layer in self:
            x = layer(x, memory) if isinstance(layer, Causal) else layer(x)
        return x


class CausalConv3d(Causal, nn.Conv3d):
    """Convolution over frames now and before, never after; nothing but zeros was before the first frame."""

    def __init__(self, in_channels: int, out_channels: int, kernel: tuple[int, int, int] = (3, 3, 3)) -> None:
        super().__init__(in_channels, out_channels, kernel, padding=(0, kernel[1] // 2, kernel[2] // 2))

    def forward(self, x: Tensor, memory: Memory) -> Tensor:  # type: ignore[override]
        """`x [B, C, T, H, W] -> [B, C', T, H, W]`."""
        before = memory.take()
        if before is None:
            before = x.new_zeros(*x.shape[:2], _SEEN, *x.shape[3:])
        seen = torch.cat([before, x], 2)
        memory.keep(seen[:, :, -_SEEN:])
        return super().forward(seen)


class RMSNorm(nn.Module):
    """Scales the channels of every position to a root mean square of one, then by `gamma`."""

    def __init__(self, channels: int, trailing_dims: int = 3) -> None:
        """`trailing_dims`: ones in the shape of `gamma` after its channels, which the files have."""
        super().__init__()
        self.scale = channels**0.5
        self.gamma = nn.Parameter(torch.ones(channels, *(1,) * trailing_dims))

    def forward(self, x: Tensor) -> Tensor:
        """`x [B, C, ...]`, in its own type; the sum of squares is taken in fp32 at least."""
        exact = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        return F.normalize(exact, dim=1).to(x.dtype) * self.scale * self.gamma


class ResidualBlock(Causal):
    """Two causal convolutions beside a shortcut."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.residual = CausalSequential(
            RMSNorm(in_channels),
            nn.SiLU(inplace=True),
            CausalConv3d(in_channels, out_channels),
            RMSNorm(out_channels),
            nn.SiLU(inplace=True),
            nn.Identity(),  # the files count a dropout here
            CausalConv3d(out_channels, out_channels),
        )
        self.shortcut = nn.Identity() if in_channels == out_channels else nn.Conv3d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        return self.residual(x, memory) + self.shortcut(x)


class FrameAttention(nn.Module):
    """One head of attention among the positions of each frame by itself."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = RMSNorm(channels, trailing_dims=2)
        self.to_qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        frames, height = rearrange(x, "b c t h w -> (b t) c h w"), x.shape[-2]
        q, k, v = rearrange(self.to_qkv(self.norm(frames)), "n (three c) h w -> three n 1 (h w) c", three=3)
        attended = F.scaled_dot_product_attention(q, k, v)
        frames = self.proj(rearrange(attended, "n 1 (h w) c -> n c h w", h=height))
        return x + rearrange(frames, "(b t) c h w -> b c t h w", b=x.shape[0])


def _on_frames(layers: nn.Module, x: Tensor) -> Tensor:
    """Two-dimensional `layers` on every frame of `x [B, C, T, H, W]`."""
    frames = layers(rearrange(x, "b c t h w -> (b t) c h w"))
    return rearrange(frames, "(b t) c h w -> b c t h w", b=x.shape[0])


class Downsample(Causal):
    """Half the height and width; with `temporal` one frame of every two, but the rollout's first frame stays."""

    def __init__(self, channels: int, temporal: bool) -> None:
        super().__init__()
        self.resample = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(channels, channels, 3, stride=2))
        self.time_conv = nn.Conv3d(channels, channels, (3, 1, 1), stride=(2, 1, 1)) if temporal else None

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        x = _on_frames(self.resample, x)
        if self.time_conv is None:
            return x
        before = memory.take()
        memory.keep(x[:, :, -1:])
        return x if before is None else self.time_conv(torch.cat([before, x], 2))


class Upsample(Causal):
    """Twice the height and width; with `temporal` two frames of each, but the rollout's first frame stays one."""

    def __init__(self, in_channels: int, out_channels: int, temporal: bool) -> None:
        super().__init__()
        enlarge = nn.Upsample(scale_factor=2.0, mode="nearest")
        self.resample = nn.Sequential(enlarge, nn.Conv2d(in_channels, out_channels, 3, padding=1))
        self.time_conv = CausalConv3d(in_channels, 2 * in_channels, (3, 1, 1)) if temporal else None

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        return _on_frames(self.resample, x if self.time_conv is None else self._grow(self.time_conv, x, memory))

    @staticmethod
    def _grow(time_conv: CausalConv3d, x: Tensor, memory: Memory) -> Tensor:
        if memory.first:  # The first frame is not only kept single: the second one sees zeros in its place.
            memory.keep(x.new_zeros(*x.shape[:2], _SEEN, *x.shape[3:]))
            return x
        return rearrange(time_conv(x, memory), "b (two c) t h w -> b c (t two) h w", two=2)


class DownStage(Causal):
    """Residual blocks and a `Downsample`, beside a shortcut that averages groups of channels and neighbours."""

    def __init__(self, layers: Sequence[nn.Module], out_channels: int, time: int, space: int) -> None:
        """`time` and `space`: how many frames, and how many positions along a side, become one."""
        super().__init__()
        self.downsamples = CausalSequential(*layers)
        self.out_channels, self.time, self.space = out_channels, time, space

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        return self.downsamples(x, memory) + self._average(x, memory.first)

    def _average(self, x: Tensor, first: bool) -> Tensor:
        if first:  # The rollout's first frame pairs with zeros before it.
            x = F.pad(x, (0, 0, 0, 0, self.time - 1, 0))
        factors: dict[str, Any] = {"ft": self.time, "fh": self.space, "fw": self.space}
        x = rearrange(x, "b c (t ft) (h fh) (w fw) -> b (c ft fh fw) t h w", **factors)
        return reduce(x, "b (c group) t h w -> b c t h w", "mean", c=self.out_channels)


class UpStage(Causal):
    """Residual blocks and an `Upsample`, beside a shortcut that repeats channels as neighbours."""

    def __init__(self, layers: Sequence[nn.Module], out_channels: int, time: int, space: int) -> None:
        """`time` and `space`: how many frames, and how many positions along a side, each becomes."""
        super().__init__()
        self.upsamples = CausalSequential(*layers)
        self.out_channels, self.time, self.space = out_channels, time, space

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        grown = self.upsamples(x, memory)
        return grown if self.space == 1 else grown + self._repeat(x, memory.first)

    def _repeat(self, x: Tensor, first: bool) -> Tensor:
        wanted = self.out_channels * self.time * self.space**2
        x = x.repeat_interleave(wanted // x.shape[1], dim=1)
        factors: dict[str, Any] = {"ft": self.time, "fh": self.space, "fw": self.space}
        x = rearrange(x, "b (c ft fh fw) t h w -> b c (t ft) (h fh) (w fw)", **factors)
        return x[:, :, self.time - 1 :] if first else x
