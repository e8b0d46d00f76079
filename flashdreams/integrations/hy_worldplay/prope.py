"""Projective positions (PRoPE): attention that compares tokens in the frame of each other's camera.

With `P = K w2c` (4 x 4) of a token's frame, applied to every four features of a head: queries become `P^T q`, keys
`P^-1 k`, values `P^-1 v`, and the answer of a query is `P o`. So the score of i and j is `q_i^T P_i P_j^-1 k_j`, which
depends on the two cameras' relative pose and lenses alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Projections:
    """Transforms of features by the cameras of F frames (PRoPE); matrices fp32 `[..., F, 4, 4]`."""

    of_queries: Tensor
    of_keys: Tensor
    """Of values too."""
    of_answers: Tensor


def projections(poses: Tensor, lenses: Tensor, device: torch.device | None = None) -> Projections:
    """Return the transforms of cameras with rigid camera-to-world `poses [..., F, 4, 4]` and `lenses [..., F, 2]`.

    Lenses are fx over the picture's width and fy over its height. The arithmetic is in the poses' dtype.
    """
    rotation_back = poses[..., :3, :3].transpose(-1, -2)
    world_to_camera = torch.zeros_like(poses)
    world_to_camera[..., :3, :3] = rotation_back
    world_to_camera[..., :3, 3:] = -rotation_back @ poses[..., :3, 3:]
    world_to_camera[..., 3, 3] = 1
    k = torch.cat([lenses, torch.ones_like(lenses)], -1).to(poses)
    p = k.unsqueeze(-1) * world_to_camera
    inverse = poses / k.unsqueeze(-2)
    answers, keys = p.float().to(device), inverse.float().to(device)
    return Projections(answers.transpose(-1, -2), keys, answers)


def project(x: Tensor, matrices: Tensor) -> Tensor:
    """Every four features of `x [..., L, H, D]` times the matrix of their frame; F equal runs of the L tokens.

    `matrices [..., F, 4, 4]`. The arithmetic is fp32, the result has the dtype of `x`.
    """
    frames = matrices.shape[-3]
    vectors = x.float().unflatten(-3, (frames, -1)).flatten(-3).unflatten(-1, (-1, 4))
    return (vectors @ matrices.transpose(-1, -2)).reshape(x.shape).to(x.dtype)
