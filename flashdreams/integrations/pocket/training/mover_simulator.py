"""A procedural simulator of movers in the grammar's lands, which the learnt transition is trained on and judged by.

People keep to ways and go around what stands there, animals graze, flee visitors and stay near home, birds circle in
flocks, boats drift and turn at the shore. It looks at the land at finer steps than the network that learns from it,
and part of what moves it is hidden: a mover's whim.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from flashdreams.integrations.pocket.movers.births import CIRCLE, LEVEL
from flashdreams.integrations.pocket.movers.senses import (
    Ground,
    blocked,
    cruise,
    fan,
    in_own_axes,
    kind_scale,
    likeness,
    near_flock,
)
from flashdreams.integrations.pocket.movers.state import (
    CLIMB,
    HABIT,
    HEADING,
    HEIGHT,
    HOME_X,
    HOME_Z,
    MOVES,
    SPEED,
    TURN,
    Kind,
    X,
    Z,
)
from flashdreams.integrations.pocket.movers.transition import SCALES, SECONDS, carried, changed

_ANGLES = torch.linspace(-2.1, 2.1, 15)
_REACHES = (0.5, 1.0, 1.7, 2.6)
_REACH_SCALE = (1.0, 1.0, 1.0, 2.2)
_WAY_PULL = (2.2, 0.6, 0.0, 0.0)
_FEAR = (0.25, 2.0, 0.0, 0.0)
"""Turning away from a visitor, by kind."""
_FASTEST_TURN = (1.6, 1.6, 1.2, 0.5)
_REST, _START = (0.008, 0.035, 0.0, 0.003), (0.07, 0.04, 1.0, 0.05)
"""Probability in a chunk to come to rest, and to go on."""
_CALM = 2.5
"""Seconds in which a whim passes."""
_NOISE = ((0.12, 0.15), (0.12, 0.2), (0.15, 0.2), (0.06, 0.1))
"""Deviation of the changes of speed and of turning, in their units, by kind."""


@dataclass
class Simulator:
    """Movers `values [R, N, 16]` on several lands at once."""

    values: Tensor
    kinds: Tensor
    flocks: Tensor
    ground: Ground
    visitors: Tensor
    """`[R, 2]`"""
    generator: torch.Generator

    def __post_init__(self) -> None:
        self.whim = torch.randn(self.kinds.shape, generator=self.generator)

    def drawn(self) -> tuple[Tensor, Tensor]:
        """Draw changes `[R, N, 3]` in the kinds' units and moves `[R, N]` from how the movers would go on."""
        decay = math.exp(-SECONDS / _CALM)
        fresh = torch.randn(self.kinds.shape, generator=self.generator)
        self.whim = self.whim * decay + fresh * math.sqrt(1 - decay * decay)
        moves = self._moves()
        turn, speed = self._on_ground(moves)
        bird_turn, bird_speed, climb = self._in_the_air()
        bird = self.kinds == Kind.BIRD
        turn, speed = torch.where(bird, bird_turn, turn), torch.where(bird, bird_speed, speed)
        steps = torch.stack(
            [(speed - self.values[..., SPEED]) * 0.4, (turn - self.values[..., TURN]) * 0.5, climb], -1
        )  # fmt: skip
        change = steps / torch.stack([kind_scale(self.kinds, row) for row in SCALES], -1)
        noise = torch.randn(change.shape, generator=self.generator)
        deviation = torch.tensor([(*row, 0.2) for row in _NOISE])[self.kinds]
        return change + noise * deviation, moves

    def step(self, change: Tensor, moves: Tensor) -> None:
        """Carry all movers on by `change` and `moves`."""
        self.values = carried(changed(self.values, self.kinds, change, moves), self.kinds, self.ground)

    def _visitor(self) -> tuple[Tensor, Tensor]:
        """Where the visitor is in each mover's axes `[R, N, 2]`, and how close, 0 to 1."""
        away = in_own_axes(self.values, self.visitors[:, None] - self.values[..., [X, Z]])
        return away, torch.exp(away.norm(dim=-1) * -0.4)

    def _moves(self) -> Tensor:
        """`[R, N]`: 1 for those that move on."""
        now, (_, near) = self.values[..., MOVES], self._visitor()
        scared = near * (self.kinds == Kind.ANIMAL)
        rest = kind_scale(self.kinds, _REST) * (1 - scared)
        start = (kind_scale(self.kinds, _START) + 0.7 * scared).clamp_max(1)
        draw = torch.rand(self.kinds.shape, generator=self.generator)
        return torch.where(now > 0.5, (draw >= rest).float(), (draw < start).float())

    def _on_ground(self, moves: Tensor) -> tuple[Tensor, Tensor]:
        """Turning and speed that walkers and boats want."""
        values, kinds = self.values, self.kinds
        reaches = torch.tensor(_REACHES) * kind_scale(kinds, _REACH_SCALE)[..., None]
        points = fan(values, _ANGLES, reaches)
        sampled = self.ground.at(points.flatten(1, 3)).unflatten(1, (kinds.shape[1], -1))
        wall = (blocked(sampled, kinds) > -0.1).float().unflatten(2, (len(_ANGLES), -1))
        way = likeness(sampled, values).unflatten(2, (len(_ANGLES), -1)).mean(-1)
        hindered = (wall * torch.tensor([1.0, 0.8, 0.5, 0.3])).sum(-1)
        visitor, near = self._visitor()
        bearing = torch.atan2(visitor[..., 1], visitor[..., 0])[..., None]
        fear = (kind_scale(kinds, _FEAR) * near)[..., None] * (_ANGLES - bearing).cos()
        home = in_own_axes(values, values[..., [HOME_X, HOME_Z]] - values[..., [X, Z]])
        far = (home.norm(dim=-1) / 8 - 1).clamp(0, 2) * (kinds == Kind.ANIMAL)
        homeward = torch.atan2(home[..., 1], home[..., 0])[..., None]
        pull = far[..., None] * (_ANGLES - homeward).cos()
        score = kind_scale(kinds, _WAY_PULL)[..., None] * way - 3.0 * hindered - fear + pull
        score = score - 0.35 * _ANGLES.square() + 0.22 * self.whim[..., None] * _ANGLES
        best = (torch.softmax(score * 5, -1) * _ANGLES).sum(-1)
        limit = kind_scale(kinds, _FASTEST_TURN)
        turn = (best * 2.2).maximum(-limit).minimum(limit) * moves
        ahead = wall[:, :, len(_ANGLES) // 2]
        free = 1 - 0.9 * torch.maximum(ahead[..., 0], 0.5 * ahead[..., 1])
        slower = 1 - 0.35 * (best.abs() / 1.5).clamp_max(1)
        flight = 1 + 1.2 * near * (kinds == Kind.ANIMAL)
        return turn, cruise(values, kinds) * moves * free * slower * flight

    def _in_the_air(self) -> tuple[Tensor, Tensor, Tensor]:
        """Turning, speed and change of climbing that birds want."""
        values = self.values
        home = in_own_axes(values, values[..., [HOME_X, HOME_Z]] - values[..., [X, Z]])
        distance = home.norm(dim=-1)
        bearing = torch.atan2(home[..., 1], home[..., 0])
        habit = values[..., HABIT]
        outside = ((distance - (CIRCLE[0] + CIRCLE[1] * habit)) / 4).clamp(-1.2, 1.4)
        # On the circle the middle lies at a right angle; outside of it birds aim inwards, to the right.
        aim = bearing - math.pi / 2 + outside
        aim = torch.remainder(aim + math.pi, 2 * math.pi) - math.pi
        index, there = near_flock(values, self.flocks)
        mates = values[torch.arange(len(values))[:, None, None], index]
        away = in_own_axes(values, mates[..., [X, Z]] - values[:, :, None, [X, Z]])
        apart = away.norm(dim=-1).clamp_min(0.2)
        push = -(away[..., 1] / apart * (1.8 - apart).clamp_min(0) * there).sum(-1)
        turned = mates[..., HEADING] - values[:, :, None, HEADING]
        align = (torch.atan2(turned.sin(), turned.cos()) * there).sum(-1) / there.sum(-1).clamp_min(1)
        together = (away[..., 1].clamp(-4, 4) * (apart > 3) * there).sum(-1)
        turn = 1.5 * aim + 0.35 * align + 0.5 * push + 0.05 * together + 0.4 * self.whim
        turn = turn + cruise(values, self.kinds) / (CIRCLE[0] + CIRCLE[1] * habit)
        ahead = (away[..., 0].clamp(-3, 3) * (apart > 2) * there).sum(-1)
        speed = cruise(values, self.kinds) + 0.15 * ahead
        level = LEVEL[0] + LEVEL[1] * habit + 0.6 * self.whim
        climb = (((level - values[..., HEIGHT]) * 0.6).clamp(-1.0, 1.0) - values[..., CLIMB]) * 0.3
        return turn.clamp(-1.2, 1.2), speed, climb
