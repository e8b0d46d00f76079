"""The parts that things are made of, as rows of two tables: bodies of revolution and boxes. Lengths are metres.

A body of revolution is where `scale (X^2 + Z^2) + quad y^2 + lin y + const < 0` between `bottom` and `top`; X and Z are
measured from its axis, y from the ground. A box has a yaw about the vertical and a roll about its own z axis.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from flashdreams.integrations.pocket.land.kinds import Color

ROUND_COLUMNS, BOX_COLUMNS = 17, 24
"""Round: x, z, scale, quad, lin, const, bottom, top, color 3, stripe color 3, stripe period, glow, reach.
Box: centre 3, half size 3, axes 9, color 3, stripe color 3, stripe period, glow, reach."""


class Parts:
    """Rows of parts, collected one thing after another."""

    def __init__(self) -> None:
        self.rounds: list[list[float]] = []
        self.boxes: list[list[float]] = []

    def tables(self) -> tuple[Tensor, Tensor]:
        """The rounds `[N, 17]` and the boxes `[M, 24]`."""
        rounds = torch.tensor(self.rounds, dtype=torch.float32).reshape(-1, ROUND_COLUMNS)
        return rounds, torch.tensor(self.boxes, dtype=torch.float32).reshape(-1, BOX_COLUMNS)

    def ellipsoid(
        self, x: float, z: float, y: float, radius: float, height: float, color: Color, glow: float = 0.0
    ) -> None:
        """An ellipsoid of revolution centred at height `y`."""
        s, q = 1.0 / radius**2, 1.0 / height**2
        low = max(0.0, y - height)
        self.rounds.append(
            [x, z, s, q, -2 * q * y, q * y * y - 1, low, y + height, *color, *color, 0.0, glow, radius]
        )  # fmt: skip

    def column(
        self,
        x: float,
        z: float,
        radius: float,
        bottom: float,
        top: float,
        color: Color,
        stripe: Color | None = None,
        period: float = 0.0,
        glow: float = 0.0,
    ) -> None:
        """An upright cylinder."""
        self.rounds.append(
            [x, z, 1.0, 0.0, 0.0, -(radius**2), bottom, top, *color, *(stripe or color), period, glow, radius]
        )

    def cone(
        self,
        x: float,
        z: float,
        radius: float,
        bottom: float,
        top: float,
        color: Color,
        stripe: Color | None = None,
        period: float = 0.0,
    ) -> None:
        """An upright cone, its point at `top`."""
        k = (radius / (top - bottom)) ** 2
        self.rounds.append(
            [x, z, 1.0, -k, 2 * k * top, -k * top * top, bottom, top, *color, *(stripe or color), period, 0.0, radius]
        )

    def box(
        self,
        x: float,
        y: float,
        z: float,
        half: tuple[float, float, float],
        yaw: float,
        color: Color,
        roll: float = 0.0,
        stripe: Color | None = None,
        period: float = 0.0,
        glow: float = 0.0,
    ) -> None:
        """A box of half sizes `half` centred at (x, y, z)."""
        cy, sy, cr, sr = math.cos(yaw), math.sin(yaw), math.cos(roll), math.sin(roll)
        axes = [cr * cy, sr, -cr * sy, -sr * cy, cr, sr * sy, sy, 0.0, cy]
        reach = math.hypot(*half)
        self.boxes.append([x, y, z, *half, *axes, *color, *(stripe or color), period, glow, reach])


def round_distance(rows: Tensor, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Signed distance in metres, to first order, from rounds `rows [N, 17]`; points broadcast to `[N, ...]`."""
    scale, quad, lin, const, bottom, top = (_column(rows, i, x) for i in range(2, 8))
    dx, dz = x - _column(rows, 0, x), z - _column(rows, 1, x)
    flat = dx * dx + dz * dz
    slope = 2 * quad * y + lin
    value = scale * flat + quad * y * y + lin * y + const
    steep = (4 * scale * scale * flat + slope * slope).sqrt().clamp_min(1e-3)
    return torch.maximum(value / steep, torch.maximum(bottom - y, y - top))


def box_distance(rows: Tensor, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Distance in metres, in the maximum norm, of points from boxes `rows [N, 24]`; points broadcast to `[N, ...]`."""
    rx, ry, rz = x - _column(rows, 0, x), y - _column(rows, 1, x), z - _column(rows, 2, x)
    result: Tensor | None = None
    for axis in range(3):
        ex, ey, ez = (_column(rows, 6 + 3 * axis + i, x) for i in range(3))
        own = (rx * ex + ry * ey + rz * ez).abs() - _column(rows, 3 + axis, x)
        result = own if result is None else torch.maximum(result, own)
    assert result is not None
    return result


def _column(rows: Tensor, index: int, like: Tensor) -> Tensor:
    return rows[:, index].view(-1, *([1] * (like.dim() - 1)))


def jittered(rng: np.random.Generator, color: Color, amount: float = 0.05) -> Color:
    """`color`, a little lighter or darker and of another hue."""
    light = rng.normal(0, amount)
    r, g, b = (min(max(c * (1 + light + rng.normal(0, amount * 0.5)), 0.02), 1.0) for c in color)
    return (r, g, b)
