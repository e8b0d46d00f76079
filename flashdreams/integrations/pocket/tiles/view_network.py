"""The network of views: from what rays see of a state, and the light, to a picture, in one pass."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flashdreams.infra.config import InstantiateConfig
from flashdreams.integrations.pocket.land.light import LIGHT
from flashdreams.integrations.pocket.tiles.convolutions import Block
from flashdreams.integrations.pocket.tiles.sight import ALBEDO, FEATURES


@dataclass(kw_only=True)
class ViewNetworkConfig(InstantiateConfig):
    """Config of `ViewNetwork`."""

    _target: type = field(default_factory=lambda: ViewNetwork)

    widths: tuple[int, int, int] = (32, 64, 96)
    """Channels at 128x72, 64x36 and 32x18."""
    blocks: int = 2
    """Residual blocks at the two coarser sizes."""
    entrance: int = 64
    """Width of the ray-wise network that meets the light."""


class ViewNetwork(nn.Module):
    """Pictures `[N, 3, 144, 256]` from features of rays `[N, 34, 72, 128]` and lights `[N, 24]`.

    The picture is the colour that rays end on times a gain, plus a rest: the gain and the rest are learnt. Where single
    pixels are known (`fine_sight.Sharp`), their colours are taken, beside seams the gain and the rest of the ray that
    ended on the same thing, and the sky as it is.
    """

    def __init__(self, config: ViewNetworkConfig) -> None:
        super().__init__()
        self.config = config
        w0, w1, w2 = config.widths
        self.light = nn.Sequential(nn.Linear(LIGHT, 96), nn.SiLU(), nn.Linear(96, 2 * config.entrance + 2 * w2))
        self.enter = nn.Conv2d(FEATURES, config.entrance, 1)
        self.narrow = nn.Conv2d(config.entrance, w0, 1)
        self.down1 = nn.Conv2d(w0, w1, 4, 2, 1)
        self.middle = nn.ModuleList([Block(w1) for _ in range(config.blocks)])
        self.down2 = nn.Conv2d(w1, w2, 4, 2, 1)
        self.deep = nn.ModuleList([Block(w2) for _ in range(config.blocks)])
        self.up2 = nn.Conv2d(w2, w1, 1)
        self.after = Block(w1)
        self.up1 = nn.Conv2d(w1, w0, 1)
        self.last = nn.ModuleList([Block(w0)])
        self.head = nn.Conv2d(w0, 24, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(
        self,
        features: Tensor,
        light: Tensor,
        albedo: Tensor | None = None,
        source: Tensor | None = None,
        sky: Tensor | None = None,
    ) -> Tensor:
        """See the class; `albedo [N, 3, 144, 256]`, `source [N, 144 * 256]` and `sky [N, 4, 144, 256]` come together.

        They are of single pixels, see `fine_sight.Sharp`.
        """
        dtype = self.enter.weight.dtype
        told = self.light(light.to(dtype))[:, :, None, None]
        scale, shift, deep_scale, deep_shift = told.split([self.config.entrance] * 2 + [self.config.widths[2]] * 2, 1)
        rows = features.to(dtype).contiguous(memory_format=torch.channels_last)
        h0 = self.narrow(F.silu(self.enter(rows) * (1 + scale) + shift))
        h1 = self.down1(F.silu(h0))
        for block in self.middle:
            h1 = block(h1)
        h2 = self.down2(h1) * (1 + deep_scale) + deep_shift
        for block in self.deep:
            h2 = block(h2)
        h1 = self.after(h1 + F.interpolate(self.up2(h2), scale_factor=2, mode="nearest"))
        h0 = h0 + F.interpolate(self.up1(h1), scale_factor=2, mode="bilinear")
        for block in self.last:
            h0 = block(h0)
        told_pixels = F.pixel_shuffle(self.head(F.silu(h0)).float(), 2)
        if source is not None:
            flat = told_pixels.flatten(2)
            told_pixels = flat.gather(2, source[:, None].expand_as(flat)).view_as(told_pixels)
        gain, rest = told_pixels.chunk(2, 1)
        if albedo is None:
            albedo = F.interpolate(features[:, ALBEDO : ALBEDO + 3].float(), scale_factor=2, mode="bilinear")
        picture = (albedo * 0.5 + 0.5) * (0.6 + gain) + rest
        return picture if sky is None else torch.lerp(picture, sky[:, :3], sky[:, 3:])
