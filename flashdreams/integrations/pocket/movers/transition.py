"""The learnt transition of movers: a small network tells how each goes on, and computed kinematics carry it there."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from flashdreams.integrations.pocket.movers.senses import SENSES, Ground, blocked, cruise, kind_scale
from flashdreams.integrations.pocket.movers.state import (
    CLIMB,
    GROUND_COLOR,
    HEADING,
    HEIGHT,
    MOVES,
    PHASE,
    SPEED,
    SPOT,
    TURN,
    Kind,
)

SECONDS = 1 / 6
"""Of one transition: a chunk."""
HIDDEN = 96
STEPS = 3
"""Outputs of a transition: metres a second, radians a second, metres a second upwards."""
SCALES = ((0.25, 0.2, 0.5, 0.08), (0.5, 0.5, 0.3, 0.1), (0.3, 0.3, 0.3, 0.3))
"""Units of their changes, by kind."""
_KEEPING = 0.03
"""Share by which the ground that a mover keeps to becomes that under it, each time."""


class MoverNetwork(nn.Module):
    """Of what movers perceive, `[..., 81]`: means and logarithms of deviations of the three changes in their units,
    `[..., 3]` each, and the log-odds of moving on rather than resting, `[...]`.
    """

    def __init__(self, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(SENSES, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 2 * STEPS + 1)
        )

    def forward(self, senses: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See the class."""
        out = self.layers(senses)
        return out[..., :STEPS], out[..., STEPS : 2 * STEPS].clamp(-4, 1), out[..., -1]


def load_mover_network(path: Path) -> MoverNetwork:
    """The network of a weights file. Raises RuntimeError for weights of another one."""
    network = MoverNetwork()
    network.load_state_dict(load_file(path))
    return network.eval().requires_grad_(False)


def changed(values: Tensor, kinds: Tensor, change: Tensor, moves: Tensor) -> Tensor:
    """`values [R, N, 16]` after `change [R, N, 3]` in the kinds' units, moving where `moves [R, N]` is 1."""
    step = change * torch.stack([kind_scale(kinds, row) for row in SCALES], -1)
    result = values.clone()
    fastest = 2.2 * cruise(values, kinds)
    result[..., SPEED] = torch.minimum((values[..., SPEED] + step[..., 0]).clamp_min(0), fastest)
    result[..., TURN] = (values[..., TURN] + step[..., 1]).clamp(-2.5, 2.5)
    result[..., CLIMB] = torch.where(kinds == Kind.BIRD, (values[..., CLIMB] + step[..., 2]).clamp(-1.5, 1.5), 0.0)
    result[..., MOVES] = moves
    return result


def carried(values: Tensor, kinds: Tensor, ground: Ground) -> Tensor:
    """`values [R, N, 16]` one chunk later by their speeds; nobody enters what blocks it."""
    result = values.clone()
    middle = values[..., HEADING] + values[..., TURN] * (SECONDS / 2)
    reach = values[..., SPEED] * SECONDS
    there = values[..., SPOT] + torch.stack([middle.sin(), middle.cos()], -1) * reach[..., None]
    both = ground.at(torch.cat([there, values[..., SPOT]], 1)).unflatten(1, (2, -1))
    wall, before = blocked(both[:, 0], kinds), blocked(both[:, 1], kinds)
    stopped = (wall > 0) & (wall >= before)
    result[..., SPOT] = torch.where(stopped[..., None], values[..., SPOT], there)
    result[..., SPEED] = torch.where(stopped, 0.0, values[..., SPEED])
    result[..., PHASE] = torch.where(stopped, values[..., PHASE], (values[..., PHASE] + reach) % 1024.0)
    turned = values[..., HEADING] + values[..., TURN] * SECONDS
    result[..., HEADING] = torch.remainder(turned + math.pi, 2 * math.pi) - math.pi
    result[..., HEIGHT] = (values[..., HEIGHT] + values[..., CLIMB] * SECONDS).clamp(0, 14)
    under = both[:, 0, :, 2:5]
    result[..., GROUND_COLOR] = torch.lerp(values[..., GROUND_COLOR], under, _KEEPING)
    return result


def next_values(
    network: MoverNetwork,
    senses: Tensor,
    values: Tensor,
    kinds: Tensor,
    ground: Ground,
    normal: Tensor,
    uniform: Tensor,
) -> Tensor:
    """Sample `values [R, N, 16]` one chunk later with chance `normal [R, N, 3]` and `uniform [R, N]`."""
    mean, spread, log_odds = network(senses)
    moves = (uniform < torch.sigmoid(log_odds)).float()
    return carried(changed(values, kinds, mean + spread.exp() * normal, moves), kinds, ground)


def transition_loss(network: MoverNetwork, senses: Tensor, change: Tensor, moves: Tensor, climbs: Tensor) -> Tensor:
    """Negative log-likelihood of `change [R, N, 3]` and `moves [R, N]`; climbing counts where `climbs [R, N]`."""
    mean, spread, log_odds = network(senses)
    error = 0.5 * ((change - mean) / spread.exp()).square() + spread
    share = torch.stack([torch.ones_like(climbs), torch.ones_like(climbs), climbs], -1)
    return (error * share).sum(-1).mean() + F.binary_cross_entropy_with_logits(log_odds, moves)
