"""Learnt occupancy grids of the scenes, and ray marching through them to find distances.

A cell holds the log-odds that a ray ends there. Cameras have no roll, so all rays of a picture go along a fan of
vertical planes: the grid is read once along the fan's lines on the ground, all heights together, and every ray then
finds its own heights in that reading.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NEAR, FAR = 0.5, 38.0
"""Metres along the ground: a ray's first and last step."""
STEPS = 64
FAN, FAN_DEGREES = 128, 60.0
"""Lines of the fan, and how far it opens to either side; a picture with pitch 30 needs 51 degrees."""
TOP = 10.0
"""Metres: the height of the highest cells."""
SCALE, OFFSET = 4.0, -5.0
"""Log-odds are the grid's values times `SCALE` plus `OFFSET`: an untouched grid is nearly empty."""


class OccupancyGrid(nn.Module):
    """Occupancy grids of `scenes` scenes: `levels` heights of `size` x `size` cells, `reach` metres to every side."""

    steps: Tensor

    def __init__(self, scenes: int, levels: int, size: int, reach: float) -> None:
        super().__init__()
        self.reach = reach
        self.grid = nn.Parameter(torch.zeros(scenes, levels, size, size))
        self.register_buffer("steps", torch.logspace(math.log10(NEAR), math.log10(FAR), STEPS), persistent=False)

    def log_odds(self, pose: Tensor, scene: Tensor, rays: Tensor) -> Tensor:
        """`[N, STEPS, R]`: that `rays [N, R, 3]` (east, up, north) of cameras `pose [N, 4, 4]` end at each step."""
        yaw = torch.atan2(pose[:, 0, 2], pose[:, 2, 2]).float()
        spread = math.radians(FAN_DEGREES) * torch.linspace(-1, 1, FAN, device=pose.device)
        azimuth = yaw[:, None] + spread
        line = torch.stack([azimuth.sin(), azimuth.cos()], -1)
        points = pose[:, None, None, (0, 2), 3].float() + self.steps[:, None, None] * line[:, None]
        fan = read(self.grid, scene, points / self.reach)  # [N, levels, STEPS, FAN]
        level = torch.hypot(rays[..., 0], rays[..., 2]).clamp_min(1e-3)
        height = self.steps[:, None] * (rays[..., 1] / level)[:, None] - pose[:, 1:2, 3:].float()
        up = level_of(height)
        aside = torch.remainder(torch.atan2(rays[..., 0], rays[..., 2]) - yaw[:, None] + math.pi, 2 * math.pi) - math.pi
        across = (aside / math.radians(FAN_DEGREES))[:, None].expand_as(up)
        grid = torch.stack([across, up], -1).flatten(0, 1).unsqueeze(1)
        sheets = fan.transpose(1, 2).flatten(0, 1).unsqueeze(1)
        found = F.grid_sample(sheets, grid, padding_mode="border", align_corners=True)
        return found[:, 0, 0].unflatten(0, up.shape[:2]) * SCALE + OFFSET

    def ends(self, log_odds: Tensor, rays: Tensor, ground: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rays' ends: inverse depth `[N, R]` in 1/m, and the confidence that they end at a thing, 0 to 1.

        `log_odds` are those of `rays`, `ground [N, R]` the inverse depth at which they end when nothing is in the way.
        The end is where a ray has more likely than not ended, as a mean with the steps beside that one.
        """
        inverse = self.inverse_depth(rays)
        before_ground = inverse > ground.unsqueeze(1)
        passed = F.softplus(log_odds).masked_fill(~before_ground, 0).cumsum(1)
        reached = torch.exp(-F.pad(passed, (0, 0, 1, 0)))
        ended = reached[:, :-1] - reached[:, 1:]
        middle = (reached[:, 1:] >= 0.5).sum(1, keepdim=True)
        near = (middle + torch.tensor([-1, 0, 1], device=middle.device)[:, None]).clamp(0, STEPS - 1)
        weight, distance = ended.gather(1, near), inverse.gather(1, near)
        end = (weight * distance).sum(1) / weight.sum(1).clamp_min(1e-6)
        return torch.where(middle[:, 0] < STEPS, end, ground), 1 - reached[:, -1]

    def inverse_depth(self, rays: Tensor) -> Tensor:
        """`[N, STEPS, R]` in 1/m: of the steps along rays `[N, R, 3]` of depth 1."""
        return torch.hypot(rays[..., 0], rays[..., 2]).unsqueeze(1) / self.steps[:, None]

    def loss(self, log_odds: Tensor, rays: Tensor, ground: Tensor, true: Tensor) -> Tensor:
        """Return the negative log-likelihood of rays that end at inverse depths `true [N, R]`, in nats per ray."""
        inverse = self.inverse_depth(rays)
        hit = (inverse.log() - true.unsqueeze(1).log()).abs().argmin(1, keepdim=True)
        thing = (true > 1.03 * ground).unsqueeze(1)
        at = torch.arange(STEPS, device=hit.device)[:, None]
        passed, ends = (at < hit) & (inverse > ground.unsqueeze(1)), (at == hit) & thing
        nats = F.softplus(log_odds) * passed + F.softplus(-log_odds) * ends
        return nats.sum(1).mean()


def level_of(height: Tensor) -> Tensor:
    """Return heights in metres as a grid's levels, -1 to 1: low cells are less high, there is more to see."""
    return (height.clamp_min(0) / TOP).clamp_max(1).pow(0.7) * 2 - 1


def read(grids: Tensor, scene: Tensor, points: Tensor) -> Tensor:
    """Features `[N, C, A, B]` of the grids of scenes `scene [N]` at `points [N, A, B, 2 or 3]`, -1..1 inside.

    `grids` are `[S, C, H, W]`, or `[S, C, L, H, W]` for points with a third coordinate.
    """
    if len(scene) == 1:
        # A slice instead of a copy where asking for the number costs no wait.
        one = grids[int(scene)][None] if grids.device.type == "cpu" else grids[scene]
        return _sampled(one, points)
    # A batch looks at few places from many cameras: every place's grid is read once, where all of its cameras look.
    pieces, order = [], []
    for index, grid in enumerate(grids.unbind(0)):
        rows = (scene == index).nonzero()[:, 0]
        if len(rows):
            found = _sampled(grid[None], points[rows].transpose(0, 1).flatten(1, 2)[None])[0]
            pieces.append(found.unflatten(-1, (len(rows), -1)).permute(2, 0, 1, 3))
            order.append(rows)
    return torch.cat(pieces)[torch.cat(order).argsort()]


def _sampled(grids: Tensor, points: Tensor) -> Tensor:
    space = grids.dim() == 5
    at = points[:, None] if space else points
    found = F.grid_sample(grids, at.to(grids.dtype), padding_mode="border", align_corners=False)
    return found[:, :, 0] if space else found
