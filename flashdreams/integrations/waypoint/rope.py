"""Waypoint's rotary positions: columns and rows of patches, then the latent's absolute time."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from flashdreams.core.attention import RotaryPositionEmbedding3D
from flashdreams.core.attention.devices import DEFAULT_DEVICE


class WaypointRotaryPositionEmbedding(RotaryPositionEmbedding3D):
    """Angles of one latent's tokens, in the order (x, y, t) of the head's pairs: a quarter, a quarter and a half.

    Spatial frequencies run linearly from pi to 0.8 pi times half of the shorter side of the grid, over positions of
    patch centres in -1..1; those of time are 10000^(-k / 16) over the latent's index, for heads of 64. Each is used
    for two neighbouring pairs. Pairs are neighbouring features, and the rotated ones stay there: a layout that
    writes all real parts before all imaginary ones has the same products of queries and keys.
    """

    def __init__(self, head_dim: int, rows: int, columns: int, device: torch.device | str = DEFAULT_DEVICE) -> None:
        """Raises ValueError for a head_dim that is not a multiple of 16."""
        if head_dim % 16:
            raise ValueError(f"head_dim must be a multiple of 16, got {head_dim}")
        super().__init__(head_dim, rows, columns, 1, interleaved=True, device=device)
        with torch.device("cpu"):
            each, span = head_dim // 16, torch.arange(0, head_dim // 4, 2, dtype=torch.float64)
            spatial = math.pi * torch.linspace(1, 0.8 * min(rows, columns) / 2, each, dtype=torch.float64)
            x = torch.outer(_centres(columns), spatial).repeat_interleave(2, dim=-1)
            y = torch.outer(_centres(rows), spatial).repeat_interleave(2, dim=-1)
            self._speed_t = torch.pow(10000.0, -span / (head_dim // 4)).repeat_interleave(2)
        grid = torch.cat((x[None].expand(rows, -1, -1), y[:, None].expand(-1, columns, -1)), dim=-1)
        self._angle_hw = grid.flatten(0, 1).float().to(self.device)

    def at_times(self, times: Tensor) -> Tensor:
        """Angles `[len(times) * rows * columns, 1, 1, head_dim]` of whole latents at any time positions `[N]`."""
        angle_t = torch.remainder(torch.outer(times.to("cpu", torch.float64), self._speed_t), 2 * math.pi).float()
        angle_t = angle_t.to(self.device, non_blocking=True)[:, None].expand(-1, self.frame_tokens, -1)
        angles = torch.cat((self._angle_hw.expand(len(times), -1, -1), angle_t), dim=-1).flatten(0, 1)
        return angles.repeat_interleave(2, dim=-1)[:, None, None]


def _centres(count: int) -> Tensor:
    """Centres of `count` patches on a line from -1 to 1, fp64."""
    return (2 * torch.arange(count, dtype=torch.float64) + 1) / count - 1
