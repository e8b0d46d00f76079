"""The network that reads a picture: what stands where, how far away, and which kind of land and light it shows."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from flashdreams.infra.config import InstantiateConfig
from flashdreams.integrations.pocket.land.kinds import ATTRIBUTES, KINDS, STYLE
from flashdreams.integrations.pocket.tiles.convolutions import Block
from flashdreams.integrations.pocket.tiles.picture import DISTANCES, Picture, bearing, distances, packed_spots
from flashdreams.integrations.pocket.tiles.weights import restored

PICTURE_ROWS, PICTURE_COLUMNS = 72, 128
"""Size of the pictures that it reads."""
HOURS = 24
"""Hours that it tells apart."""
_FACTS = (len(KINDS), len(ATTRIBUTES), len(STYLE), HOURS, 5)
_SPOTS = (3, DISTANCES, 3, 1)


class Reading(NamedTuple):
    """Answers of the network for pictures `[N, 3, 72, 128]`."""

    kinds: Tensor
    """`[N, 7]`, logits."""
    attributes: Tensor
    """`[N, 6]`, 0 to 1."""
    style: Tensor
    """`[N, 6]`, 0 to 1."""
    hour: Tensor
    """`[N, 24]`, logits."""
    scalars: Tensor
    """`[N, 5]`: clouds, haze by 0.02, the light's direction to the right of the camera and ahead, pitch by 0.3."""
    what: Tensor
    """`[N, 3, 36, 64]`, logits of thing, ground and sky."""
    distance: Tensor
    """`[N, 24, 36, 64]`, logits of the distances of things."""
    color: Tensor
    """`[N, 3, 36, 64]`: own colours, -1 to 1."""
    water: Tensor
    """`[N, 36, 64]`, logits of water on the ground."""


@dataclass(kw_only=True)
class PictureNetworkConfig(InstantiateConfig):
    """Config of `PictureNetwork`."""

    _target: type = field(default_factory=lambda: PictureNetwork)

    widths: tuple[int, int, int] = (24, 48, 64)
    """Channels at 64x36, 32x18 and 16x9."""
    blocks: int = 2
    """Residual blocks at the coarsest size."""
    whole: int = 96
    """Width of what is known of the picture as a whole."""


class PictureNetwork(nn.Module):
    """Reads pictures `[N, 3, 72, 128]` in 0..1."""

    def __init__(self, config: PictureNetworkConfig) -> None:
        super().__init__()
        self.config = config
        w0, w1, w2 = config.widths
        self.enter = nn.Conv2d(14, w0, 3, padding=1)
        self.fine = Block(w0)
        self.down1 = nn.Conv2d(w0, w1, 4, 2, 1)
        self.middle = Block(w1)
        self.down2 = nn.Conv2d(w1, w2, 4, 2, 1)
        self.deep = nn.ModuleList([Block(w2) for _ in range(config.blocks)])
        self.whole = nn.Linear(6 * w2, config.whole)
        self.facts = nn.Linear(config.whole, sum(_FACTS))
        self.back = nn.Linear(config.whole, w2)
        self.up2 = nn.Conv2d(w2, w1, 1)
        self.after1 = Block(w1)
        self.up1 = nn.Conv2d(w1, w0, 1)
        self.after0 = Block(w0)
        self.spots = nn.Conv2d(w0, sum(_SPOTS), 3, padding=1)

    def forward(self, pictures: Tensor) -> Reading:
        """See the class."""
        rows = F.pixel_unshuffle(pictures * 2 - 1, 2)
        place = torch.stack(torch.meshgrid(*(torch.linspace(-1, 1, n) for n in rows.shape[2:]), indexing="ij"))
        rows = torch.cat([rows, place.to(rows)[None].expand(len(rows), -1, -1, -1)], 1)
        h0 = self.fine(self.enter(rows.contiguous(memory_format=torch.channels_last)))
        h1 = self.middle(self.down1(F.silu(h0)))
        h2 = self.down2(F.silu(h1))
        for block in self.deep:
            h2 = block(h2)
        whole = F.silu(self.whole(F.adaptive_avg_pool2d(F.silu(h2), (3, 2)).flatten(1)))
        facts = self.facts(whole).float()
        h2 = h2 + self.back(whole)[:, :, None, None]
        h1 = self.after1(h1 + F.interpolate(self.up2(h2), size=h1.shape[2:], mode="bilinear"))
        h0 = self.after0(h0 + F.interpolate(self.up1(h1), size=h0.shape[2:], mode="bilinear"))
        what, distance, color, water = self.spots(F.silu(h0)).float().split(_SPOTS, 1)
        kinds, attributes, style, hour, scalars = facts.split(_FACTS, 1)
        color = color + F.avg_pool2d(pictures * 2 - 1, 2)
        return Reading(
            kinds, attributes + 0.5, style + 0.5, hour, scalars, what, distance, color, water[:, 0]
        )  # fmt: skip


def picture_of(reading: Reading) -> Picture:
    """Return the first picture of a `reading`, as a place."""
    kinds, hours = reading.kinds[0].softmax(0), reading.hour[0].softmax(0)
    best = int(hours.argmax())
    near = torch.tensor([best - 1, best, best + 1])
    hour = float((near * hours[near % HOURS]).sum() / hours[near % HOURS].sum()) % 24
    clouds, haze, right, ahead, pitch = reading.scalars[0].tolist()
    turned = math.atan2(right, ahead) - bearing(hour)
    return Picture(
        _rounded(kinds),
        _rounded(reading.attributes[0].clamp(0, 1)),
        _rounded(reading.style[0].clamp(0, 1)),
        round(hour, 3),
        round(min(max(clouds, 0.0), 1.0), 3),
        round(min(max(haze * 0.02, 0.004), 0.05), 4),
        round(math.remainder(turned, 2 * math.pi), 3),
        round(min(max(pitch * 0.3, -0.5), 0.5), 3),
        _packed(reading),
    )


def load_picture_network(path: Path) -> PictureNetwork:
    """The network of a file of `compressed` weights. Raises RuntimeError for weights of another one."""
    network: PictureNetwork = PictureNetworkConfig().setup()
    network.load_state_dict(restored(load_file(path)))
    return network.eval().requires_grad_(False)


def _rounded(values: Tensor) -> tuple[float, ...]:
    return tuple(round(float(v), 3) for v in values)


def _packed(reading: Reading) -> bytes:
    what = reading.what[0].softmax(0)
    steps = distances().log()
    logits = reading.distance[0]
    best = logits.argmax(0)
    # The mean of the distances next to the likeliest: that of all would lie between near and far things.
    near = (torch.arange(len(steps))[:, None, None] - best).abs() <= 1
    place = (logits.masked_fill(~near, -1e9).softmax(0) * torch.arange(len(steps))[:, None, None]).sum(0)
    maps = torch.cat([
        what[:2], (place / (len(steps) - 1))[None], reading.color[0].clamp(-1, 1) * 0.5 + 0.5,
        reading.water[0].sigmoid()[None],
    ])  # fmt: skip
    return packed_spots(maps)
