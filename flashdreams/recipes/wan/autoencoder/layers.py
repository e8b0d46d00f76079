"""Layers of Wan's video autoencoders: causal in time, the frames they have seen in a dict that the caller holds.

A rollout's first call takes the one frame that stands for its first latent, every later call whole latents. Parameter
names are those of the published files.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Dict, Literal, Optional  # noqa: UP035

import torch
from einops import rearrange, reduce
from torch import nn
from torch.nn import functional as F

from flashdreams.core.convolution import Conv2d, Conv3d

CACHE_T = 2
"""Frames that a causal convolution sees besides the newest."""
TEMPORAL_WINDOW = 4
"""Frames to a latent, the first of a rollout aside."""
PadMode = Literal["constant", "replicate", "reflect", "circular"]
"""Padding at the borders of a frame, as in `torch.nn.functional.pad`."""
State = Dict[int, torch.Tensor]  # noqa: UP006
"""The last frames `[B, C, T, H, W]` that each causal layer saw, by the layer's place; empty before the first call."""


class Causal(nn.Module):
    """A layer that is called with the state."""

    place: int | None = None
    """Key of this layer in the state; a network numbers its layers, elsewhere it is the layer's identity."""

    @property
    def key(self) -> int:
        """Key of this layer in the state."""
        return id(self) if self.place is None else self.place


def number_layers(network: nn.Module) -> None:
    """Give the layers that keep frames their places in the state, in the order of `network.modules()`."""
    places = itertools.count()
    for layer in network.modules():
        if isinstance(layer, CausalConv3d) or (isinstance(layer, Resample) and layer.mode == "downsample3d"):
            layer.place = next(places)


class CausalSequential(Causal, nn.Sequential):
    """Layers one after another, of which some take the state."""

    def forward(self, x: torch.Tensor, state: State, **options: Any) -> torch.Tensor:  # type: ignore[override]
        """`options` go to the stages of an upsampling network."""
        for layer in self:
            if isinstance(layer, ResidualUpBlock):
                x = layer(x, state, **options)
            elif isinstance(layer, CausalConv3d):
                x = layer.cache_step(x, state)
            else:
                x = layer(x, state) if isinstance(layer, Causal) else layer(x)
        return x


class CausalConv3d(Causal, Conv3d):
    """Convolution over frames now and before, never after; nothing but zeros was before the first frame."""

    _spatial_pad: tuple[int, int, int, int]
    _has_spatial_pad: bool
    _time_pad: int
    _pad_mode: PadMode

    def __init__(self, *args: Any, pad_mode: PadMode = "constant", **kwargs: Any) -> None:
        """Arguments are those of `nn.Conv3d`; its padding in time is twice before the clip, and none after it."""
        super().__init__(*args, **kwargs)
        padding: Any = self.padding
        time, rows, columns = padding
        self._spatial_pad = (int(columns), int(columns), int(rows), int(rows))
        self._has_spatial_pad = any(self._spatial_pad)
        self._time_pad, self._pad_mode = 2 * int(time), pad_mode
        # Zeros around a frame cost nothing inside of the convolution.
        self.padding = (0, rows, columns) if pad_mode == "constant" else (0, 0, 0)

    def forward(self, x: torch.Tensor, prev: Optional[torch.Tensor] = None) -> torch.Tensor:  # noqa: UP045
        """`x [B, C, T, H, W]` after the frames `prev` -> `[B, C', T, H, W]`."""
        missing = self._time_pad - (0 if prev is None else prev.shape[2])
        if prev is not None:
            x = torch.cat([prev, x], 2)
        if missing > 0:
            x = torch.cat([x.new_zeros(*x.shape[:2], missing, *x.shape[3:]), x], 2)
        if self._has_spatial_pad and self._pad_mode != "constant":
            x = F.pad(x.flatten(0, 1), self._spatial_pad, mode=self._pad_mode).unflatten(0, x.shape[:2])
        return super().forward(x)

    def cache_step(self, x: torch.Tensor, state: State) -> torch.Tensor:
        """Return `forward` after the frames in `state`, which then has the newest of `x`."""
        before = state.get(self.key)
        if before is None:
            before = x.new_zeros(*x.shape[:2], self._time_pad, *x.shape[3:])
        seen = torch.cat([before, x], 2)
        state[self.key] = seen[:, :, -self._time_pad :].clone()  # a view would hold all of its tensor
        return self.forward(x, before)


class RMS_norm(nn.Module):
    """Scales the channels of every position to a root mean square of one, then by `gamma`."""

    def __init__(self, dim: int, channel_first: bool = True, images: bool = True, bias: bool = False) -> None:
        """`channel_first`: channels are dim 1 of images `[B, C, H, W]` or of video `[B, C, T, H, W]`, else the last."""
        super().__init__()
        shape = (dim, *(1,) * (2 if images else 3)) if channel_first else (dim,)
        self.channel_first, self.scale = channel_first, dim**0.5
        self.gamma = nn.Parameter(torch.ones(shape))
        self.bias = nn.Parameter(torch.zeros(shape)) if bias else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the normalised `x`, in its own type; the sum of squares is taken in fp32 at least."""
        exact = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        x = _unit(exact, 1 if self.channel_first else -1).to(x.dtype) * self.scale * self.gamma
        return x if self.bias is None else x + self.bias


def _unit(x: torch.Tensor, dim: int) -> torch.Tensor:
    """Return `x` with vectors of length one along `dim`."""
    if x.device.type != "cpu" or dim == -1:
        return F.normalize(x, dim=dim)
    # `torch.linalg.vector_norm` walks a CPU's memory in strides along any dim but the last: up to 35 times slower.
    return x / x.square().sum(dim, keepdim=True).sqrt_().clamp_min_(1e-12)


class ResidualBlock(Causal):
    """Two causal convolutions beside a shortcut."""

    def __init__(self, in_dim: int, out_dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.residual = CausalSequential(
            RMS_norm(in_dim, images=False),
            nn.SiLU(inplace=True),
            CausalConv3d(in_dim, out_dim, 3, padding=1),
            RMS_norm(out_dim, images=False),
            nn.SiLU(inplace=True),
            nn.Dropout(dropout) if dropout else nn.Identity(),
            CausalConv3d(out_dim, out_dim, 3, padding=1),
        )
        self.shortcut = nn.Identity() if in_dim == out_dim else Conv3d(in_dim, out_dim, 1)

    def forward(self, x: torch.Tensor, state: State) -> torch.Tensor:
        return self.residual(x, state) + self.shortcut(x)


class AttentionBlock(nn.Module):
    """One head of attention among the positions of each frame by itself."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = RMS_norm(dim)
        self.to_qkv = Conv2d(dim, 3 * dim, 1)
        self.proj = Conv2d(dim, dim, 1)

    def forward(self, x: torch.Tensor, state: Optional[State] = None) -> torch.Tensor:  # noqa: UP045
        """`x [B, C, T, H, W]`; the state is left as it is."""
        frames, height = rearrange(x, "b c t h w -> (b t) c h w"), x.shape[-2]
        q, k, v = rearrange(self.to_qkv(self.norm(frames)), "n (three c) h w -> three n 1 (h w) c", three=3)
        attended = F.scaled_dot_product_attention(q, k, v)
        frames = self.proj(rearrange(attended, "n 1 (h w) c -> n c h w", h=height))
        return x + rearrange(frames, "(b t) c h w -> b c t h w", b=x.shape[0])


class Resample(Causal):
    """Half or twice the height and width; in the 3d modes of the frames too, but a rollout's first frame stays one."""

    def __init__(self, dim: int, mode: str, *, out_dim: int | None = None) -> None:
        """`mode` is none, upsample2d, upsample3d, downsample2d or downsample3d; `out_dim` of an upsampling is half."""
        super().__init__()
        if mode not in ("none", "upsample2d", "upsample3d", "downsample2d", "downsample3d"):
            raise ValueError(f"mode must be none, upsample2d, upsample3d, downsample2d or downsample3d, got {mode!r}")
        self.dim, self.mode = dim, mode
        self.time_conv: nn.Module | None = None
        if mode.startswith("upsample"):
            enlarge = nn.Upsample(scale_factor=2.0, mode="nearest")
            out_dim = dim // 2 if out_dim is None else out_dim
            self.resample: nn.Module = nn.Sequential(enlarge, Conv2d(dim, out_dim, 3, padding=1))
            if mode == "upsample3d":
                self.time_conv = CausalConv3d(dim, 2 * dim, (3, 1, 1), padding=(1, 0, 0))
        elif mode.startswith("downsample"):
            self.resample = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), Conv2d(dim, dim, 3, stride=2))
            if mode == "downsample3d":
                self.time_conv = Conv3d(dim, dim, (3, 1, 1), stride=(2, 1, 1))
        else:
            self.resample = nn.Identity()

    def forward(self, x: torch.Tensor, state: State) -> torch.Tensor:
        if self.mode == "upsample3d":
            x = self._grow(x, state)
        frames = self.resample(rearrange(x, "b c t h w -> (b t) c h w"))
        x = rearrange(frames, "(b t) c h w -> b c t h w", b=x.shape[0])
        if self.mode != "downsample3d":
            return x
        assert self.time_conv is not None
        before = state.get(self.key)
        state[self.key] = x[:, :, -1:].clone()
        return x if before is None else self.time_conv(torch.cat([before, x], 2))

    def _grow(self, x: torch.Tensor, state: State) -> torch.Tensor:
        conv = self.time_conv
        assert isinstance(conv, CausalConv3d)
        if conv.key not in state:  # The first frame is not only kept single: the second one sees zeros in its place.
            state[conv.key] = x.new_zeros(*x.shape[:2], CACHE_T, *x.shape[3:])
            return x
        return rearrange(conv.cache_step(x, state), "b (two c) t h w -> b c (t two) h w", two=2)


class AvgDown3D(nn.Module):
    """The shortcut of a downsampling stage: averages of groups of channels and neighbours."""

    def __init__(self, in_channels: int, out_channels: int, factor_t: int, factor_s: int = 1) -> None:
        """`factor_t` and `factor_s`: how many frames, and how many positions along a side, become one."""
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.factor_t, self.factor_s = factor_t, factor_s

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`x [B, C, T, H, W]`; frames that do not fill a group have zeros before them, as a rollout's first one."""
        missing = -x.shape[2] % self.factor_t
        if missing:
            x = F.pad(x, (0, 0, 0, 0, missing, 0))
        factors: dict[str, Any] = {"ft": self.factor_t, "fh": self.factor_s, "fw": self.factor_s}
        x = rearrange(x, "b c (t ft) (h fh) (w fw) -> b (c ft fh fw) t h w", **factors)
        return reduce(x, "b (c group) t h w -> b c t h w", "mean", c=self.out_channels)


class DupUp3D(nn.Module):
    """The shortcut of an upsampling stage: channels repeated as neighbours."""

    def __init__(self, in_channels: int, out_channels: int, factor_t: int, factor_s: int = 1) -> None:
        """`factor_t` and `factor_s`: how many frames, and how many positions along a side, each becomes."""
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.factor_t, self.factor_s = factor_t, factor_s

    def forward(self, x: torch.Tensor, first_chunk: bool = False) -> torch.Tensor:
        """`x [B, C, T, H, W]`; the first frame of a rollout becomes one."""
        wanted = self.out_channels * self.factor_t * self.factor_s**2
        x = x.repeat_interleave(wanted // x.shape[1], dim=1)
        factors: dict[str, Any] = {"ft": self.factor_t, "fh": self.factor_s, "fw": self.factor_s}
        x = rearrange(x, "b (c ft fh fw) t h w -> b c (t ft) (h fh) (w fw)", **factors)
        return x[:, :, self.factor_t - 1 :] if first_chunk else x


class ResidualDownBlock(Causal):
    """Residual blocks and a downsampling, beside an `AvgDown3D`."""

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        dropout: float,
        num_res_blocks: int,
        temperal_downsample: bool = False,
        down_flag: bool = False,
    ) -> None:
        """`down_flag`: the stage halves the height and width; `temperal_downsample`: the frames too."""
        super().__init__()
        factors = (1 + temperal_downsample, 2) if down_flag else (1, 1)
        self.avg_shortcut = AvgDown3D(in_dim, out_dim, *factors)
        layers = residual_blocks(in_dim, out_dim, num_res_blocks, dropout)
        if down_flag:
            layers.append(Resample(out_dim, "downsample3d" if temperal_downsample else "downsample2d"))
        self.downsamples = CausalSequential(*layers)

    def forward(self, x: torch.Tensor, state: State) -> torch.Tensor:
        return self.downsamples(x, state) + self.avg_shortcut(x)


class ResidualUpBlock(Causal):
    """Residual blocks and an upsampling, beside a `DupUp3D`."""

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        num_res_blocks: int,
        dropout: float = 0.0,
        temperal_upsample: bool = False,
        up_flag: bool = False,
    ) -> None:
        """`up_flag`: the stage doubles the height and width; `temperal_upsample`: the frames too."""
        super().__init__()
        self.avg_shortcut = DupUp3D(in_dim, out_dim, 1 + temperal_upsample, 2) if up_flag else None
        layers = residual_blocks(in_dim, out_dim, num_res_blocks, dropout)
        if up_flag:
            layers.append(Resample(out_dim, "upsample3d" if temperal_upsample else "upsample2d", out_dim=out_dim))
        self.upsamples = CausalSequential(*layers)

    def forward(self, x: torch.Tensor, state: State, first_chunk: bool = False) -> torch.Tensor:
        grown = self.upsamples(x, state)
        return grown if self.avg_shortcut is None else grown + self.avg_shortcut(x, first_chunk)


def residual_blocks(in_dim: int, out_dim: int, count: int, dropout: float = 0.0) -> list[nn.Module]:
    """Return `count` residual blocks, of which the first changes the channels."""
    return [ResidualBlock(out_dim if i else in_dim, out_dim, dropout) for i in range(count)]


def check_no_attention(attn_scales: Sequence[float]) -> None:
    """Raise ValueError for attention inside of stages, which no published autoencoder has."""
    if attn_scales:
        raise ValueError(f"attn_scales must be empty, got {attn_scales}")
