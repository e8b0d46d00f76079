"""HY-WorldPlay's action classes: what a camera did between two latents, as one of 9 moves times 9 turns."""

from __future__ import annotations

import math

import torch
from torch import Tensor

CLASSES = 81
"""`9 move + turn`; 0 is to stand still."""
_MOVE = torch.tensor([[8, 2, 7], [4, 0, 3], [6, 1, 5]])
"""Rows: back, neither, ahead; columns: left, neither, right."""
_TURN = torch.tensor([[8, 2, 7], [4, 0, 3], [6, 1, 5]])
"""Rows: left, neither, right; columns: down, neither, up."""
STILL = 1e-4
"""A shorter move counts as none, in units of the world."""
NO_TURN = 0.05
"""A smaller turn counts as none, in degrees."""
_CONE = math.cos(math.radians(60))
"""A move counts as one along every axis that it is less than 60 degrees away from."""


def action_classes(relative: Tensor) -> Tensor:
    """Classes `[...]` (int64, 0 to 80) of camera poses `[..., 4, 4]`, each as seen from the one before it.

    Moves: 1 forward, 2 back, 3 right, 4 left, 5 forward right, 6 forward left, 7 back right, 8 back left. Turns: 1
    right, 2 left, 3 up, 4 down, 5 right up, 6 right down, 7 left up, 8 left down.
    """
    move, rotation = relative[..., :3, 3], relative[..., :3, :3]
    length = move.norm(dim=-1, keepdim=True)
    along = torch.where(length > STILL, move / length.clamp_min(STILL), 0)
    ahead, aside = _sign(along[..., 2], _CONE), _sign(along[..., 0], _CONE)
    # Angles about fixed axes, x first: R = Rz Ry Rx.
    yaw = torch.asin((-rotation[..., 2, 0]).clamp(-1, 1)).rad2deg()
    pitch = torch.atan2(rotation[..., 2, 1], rotation[..., 2, 2]).rad2deg()
    right, up = _sign(yaw, NO_TURN), _sign(pitch, NO_TURN)
    return 9 * _MOVE[ahead + 1, aside + 1] + _TURN[right + 1, up + 1]


def _sign(x: Tensor, threshold: float) -> Tensor:
    """1, 0 or -1: which side of `threshold` and of `-threshold` each of `x` lies on."""
    return (x > threshold).long() - (x < -threshold).long()
