"""Rays against shapes whose distances are known by geometry; 1e-5 metres."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from flashdreams.integrations.pocket.renderer.intersections import FAR, box_normal, hit_boxes, hit_rounds, rows_of


def ray(*direction: float) -> Tensor:
    """One unit direction `[1, 3, 1]` as (x, height, z)."""
    vector = torch.tensor(direction, dtype=torch.float32)
    return (vector / vector.norm())[None, :, None]


def ball(x: float, height: float, z: float, radius: float) -> list[float]:
    """A row of a ball: scale, quadratic, linear and constant coefficients of the height, and its bounds."""
    coefficients = [1.0, 1.0, -2 * height, height**2 - radius**2]
    return [x, z, *coefficients, height - radius, height + radius, *[0.0] * 8, radius]


def box(x: float, height: float, z: float, half: float, yaw: float) -> list[float]:
    cos, sin = math.cos(yaw), math.sin(yaw)
    return [x, height, z, half, half, half, cos, 0, -sin, 0, 1, 0, sin, 0, cos, *[0.0] * 8, 2 * half]


EYE = torch.tensor([[0.0, 1.6, 0.0]])


def test_the_nearest_ball_is_met_where_its_surface_is() -> None:
    rows = torch.tensor([[ball(0, 1.6, 9, 1), ball(0, 1.6, 5, 1.5)]])
    distance, index = hit_rounds(EYE, ray(0, 0, 1), rows)
    assert (distance.item(), index.item()) == (pytest.approx(3.5, abs=1e-5), 1)
    slanted, _ = hit_rounds(EYE, ray(1, 0, 5), rows)
    away, foot = 5 * 5 / math.sqrt(26), 5 / math.sqrt(26)
    assert slanted.item() == pytest.approx(away - math.sqrt(1.5**2 - foot**2), abs=1e-5)
    assert hit_rounds(EYE, ray(1, 0, 0), rows)[0].item() == FAR


def test_a_turned_box_is_met_at_its_edge_and_has_the_normal_of_its_face() -> None:
    rows = torch.tensor([[box(0, 1.6, 6, 1, math.radians(45))]])
    distance, index = hit_boxes(EYE, ray(0.001, 0, 1), rows)
    assert distance.item() == pytest.approx(6 - math.sqrt(2), abs=0.02)
    point = (EYE[0] + distance.item() * ray(0.001, 0, 1)[0, :, 0]).view(3, 1, 1)
    x, y, z = (part.item() for part in box_normal(rows_of(rows, index), *point))
    assert abs(x) == pytest.approx(abs(z), abs=1e-6) and y == 0 and x * z < 0
    assert hit_boxes(EYE, ray(0, 0, -1), rows)[0].item() == FAR, "what is behind is not met"
