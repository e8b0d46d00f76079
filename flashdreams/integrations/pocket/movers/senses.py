"""Senses of a mover: its view of the land around it, of its flock and of the visitor, in its own axes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.integrations.pocket.land.state import CELL, GROUND, WATER
from flashdreams.integrations.pocket.movers.state import (
    CLIMB,
    GROUND_COLOR,
    HABIT,
    HEADING,
    HEIGHT,
    HOME,
    MOVES,
    PACE,
    POINT,
    SPEED,
    SPOT,
    TURN,
    Kind,
)
from flashdreams.integrations.pocket.tiles.footing import barrier

FIELDS = 5
"""Fields of a land: the barriers of walkers and of boats, above 0 where they may not be, and the ground's colour."""
CRUISE = (1.0, 0.55, 4.2, 0.55)
"""Metres a second of the slowest of each kind; the quickest have 1.6 times as much."""
_DRAUGHT = 5
"""Cells of water, along each side, that a boat needs."""
_ANGLES = tuple(math.radians(a) for a in (-120, -75, -45, -20, 0, 20, 45, 75, 120))
_REACHES = (0.6, 1.4, 3.0)
_SCALE = (1.0, 1.0, 1.0, 2.5)
"""Factor of these distances by kind."""
_WAY = 0.06
"""Squared distance of colours at which ground is no longer like that which a mover keeps to."""
SENSES = len(Kind) + 7 + 2 * len(_ANGLES) * len(_REACHES) + 3 + 10 + 3


@dataclass(frozen=True)
class Ground:
    """Squares of land, one for each group of movers."""

    fields: Tensor
    """`[R, 5, H, H]`, see `FIELDS`; rows along z, columns along x."""
    centres: Tensor
    """`[R, 2]`: x and z of the middles."""

    @property
    def reach(self) -> float:
        """Metres from the middle to the edge."""
        return self.fields.shape[-1] * CELL / 2

    def at(self, points: Tensor) -> Tensor:
        """`[R, P, C]`: the fields at `points [R, P, 2]` (x and z); beyond the edge, the edge."""
        flat = (points - self.centres[:, None]) / self.reach
        found = F.grid_sample(self.fields, flat[:, :, None], padding_mode="border", align_corners=False)
        return found[..., 0].transpose(1, 2)


def land_fields(state: Tensor) -> Tensor:
    """The fields `[5, H, H]` of a `state [45, H, H]`."""
    solid = state[1:4].amax(0) + 0.55
    afloat = F.max_pool2d(torch.maximum(-state[WATER], solid)[None], _DRAUGHT, 1, _DRAUGHT // 2)
    return torch.cat([barrier(state)[None], afloat, state[GROUND]]).clamp(-1, 1)


def kind_scale(kinds: Tensor, values: tuple[float, ...]) -> Tensor:
    """One of `values` for each of `kinds`."""
    return torch.tensor(values)[kinds]


def cruise(values: Tensor, kinds: Tensor) -> Tensor:
    """`[R, N]`: metres a second that each mover likes."""
    return kind_scale(kinds, CRUISE) * (1 + 0.6 * values[..., PACE])


def blocked(sampled: Tensor, kinds: Tensor) -> Tensor:
    """The barrier of each kind in fields `sampled [R, N, ..., C]`: above 0 where it may not be; birds have none."""
    shape = (*kinds.shape, *[1] * (sampled.dim() - 1 - kinds.dim()))
    kind = kinds.view(shape)
    own = torch.where(kind == Kind.BOAT, sampled[..., 1], sampled[..., 0])
    return torch.where(kind == Kind.BIRD, -1.0, own)


def likeness(sampled: Tensor, values: Tensor) -> Tensor:
    """Return the likeness to each mover's own ground, 0 to 1; `sampled [R, N, P, C]` gives `[R, N, P]`."""
    away = (sampled[..., 2:5] - values[:, :, None, GROUND_COLOR]).square().sum(-1)
    return torch.exp(away * (-1 / _WAY))


def fan(values: Tensor, angles: Tensor, reaches: Tensor) -> Tensor:
    """Points `[R, N, A, D, 2]` ahead of the movers, at `angles [A]` and `reaches [R, N, D]`."""
    heading = values[..., HEADING, None] + angles
    aim = torch.stack([heading.sin(), heading.cos()], -1)
    return values[:, :, None, None, SPOT] + aim[:, :, :, None] * reaches[:, :, None, :, None]


def in_own_axes(values: Tensor, away: Tensor) -> Tensor:
    """Vectors `away [R, N, ..., 2]` (east and north) as forward and right of movers `values [R, N, 16]`."""
    heading = values[..., HEADING].view(*values.shape[:2], *[1] * (away.dim() - 3))
    sin, cos = heading.sin(), heading.cos()
    return torch.stack([away[..., 0] * sin + away[..., 1] * cos, away[..., 0] * cos - away[..., 1] * sin], -1)


def near_flock(values: Tensor, flocks: Tensor, count: int = 2) -> tuple[Tensor, Tensor]:
    """The nearest `count` of each mover's flock: indices `[R, N, count]`, and 1 where there is one."""
    points = values[..., POINT]
    apart = (points[:, :, None] - points[:, None]).square().sum(-1)
    n = values.shape[1]
    strange = (flocks[:, :, None] != flocks[:, None]) | torch.eye(n, dtype=torch.bool)
    apart = torch.where(strange, math.inf, apart)
    if n < count:
        apart = F.pad(apart, (0, count - n), value=math.inf)
    found, index = apart.topk(count, largest=False)
    return index.clamp_max(n - 1), found.isfinite().float()


def perceive(values: Tensor, kinds: Tensor, flocks: Tensor, ground: Ground, visitors: Tensor) -> Tensor:
    """Inputs `[R, N, 81]` of the transition for movers `values [R, N, 16]` and visitors `[R, 2]`."""
    shape = values.shape[:2]
    reaches = torch.tensor(_REACHES) * kind_scale(kinds, _SCALE)[..., None]
    points = fan(values, torch.tensor(_ANGLES), reaches).flatten(1, 3)
    sampled = ground.at(points).unflatten(1, (shape[1], -1))
    likes = cruise(values, kinds)
    own = torch.stack(
        [
            values[..., SPEED] / likes, values[..., TURN], values[..., CLIMB], values[..., MOVES],
            values[..., PACE], values[..., HABIT], values[..., HEIGHT] / 6,
        ], -1,
    )  # fmt: skip
    homeward = in_own_axes(values, values[..., HOME] - values[..., SPOT]) / 10
    visitor = in_own_axes(values, visitors[:, None] - values[..., SPOT])
    distance = visitor.norm(dim=-1, keepdim=True)
    near = torch.exp(distance * -0.4)
    parts = [
        F.one_hot(kinds, len(Kind)).float(), own, blocked(sampled, kinds), likeness(sampled, values),
        homeward.clamp(-4, 4), homeward.norm(dim=-1, keepdim=True).clamp_max(4), _flockmates(values, flocks),
        visitor / distance.clamp_min(0.1) * near, near,
    ]  # fmt: skip
    return torch.cat(parts, -1)


def _flockmates(values: Tensor, flocks: Tensor) -> Tensor:
    """`[R, N, 10]`: where the nearest two of the flock are, and how they move; 0 where there are none."""
    index, there = near_flock(values, flocks)
    groups = torch.arange(len(values))[:, None, None]
    mates = values[groups, index]
    away = in_own_axes(values, mates[..., SPOT] - values[:, :, None, SPOT]) / 4
    up = (mates[..., HEIGHT] - values[:, :, None, HEIGHT])[..., None] / 4
    heading = mates[..., HEADING] - values[:, :, None, HEADING]
    aim = torch.stack([heading.sin(), heading.cos()], -1)
    return (torch.cat([away, up, aim], -1).clamp(-4, 4) * there[..., None]).flatten(2)
