"""HY-WorldPlay's action classes against a table of what a camera can do between two latents."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from flashdreams.camera.poses import pose_from_yaw_pitch
from flashdreams.integrations.hy_worldplay.actions import CLASSES, action_classes

MOVES = {
    "none": (0, 0, 0),
    "forward": (0, 0, 1),
    "back": (0, 0, -1),
    "right": (1, 0, 0),
    "left": (-1, 0, 0),
    "forward right": (1, 0, 1),
    "forward left": (-1, 0, 1),
    "back right": (1, 0, -1),
    "back left": (-1, 0, -1),
}
"""Direction in the camera's axes: x right, y down, z ahead. The order is that of the classes."""
TURNS = {
    "none": (0, 0),
    "right": (3, 0),
    "left": (-3, 0),
    "up": (0, 3),
    "down": (0, -3),
    "right up": (3, 3),
    "right down": (3, -3),
    "left up": (-3, 3),
    "left down": (-3, -3),
}
"""Yaw and pitch in degrees."""


def pose(move: tuple[float, float, float], turn: tuple[float, float]) -> torch.Tensor:
    return torch.from_numpy(pose_from_yaw_pitch(np.array(move, float), *turn))


def test_every_class_is_what_the_table_says() -> None:
    steps = list(itertools.product(MOVES.values(), TURNS.values()))
    poses = torch.stack([pose(tuple(0.08 * part for part in move), turn) for move, turn in steps])  # type: ignore[arg-type]
    assert action_classes(poses).tolist() == list(range(CLASSES))


@pytest.mark.parametrize(
    ("move", "turn", "expected"),
    [
        ((0, 0, 9e-5), (0, 0), 0),
        ((0, 0, 2e-4), (0, 0), 9),
        ((0, -1, 0), (0, 0), 0),
        ((0.5, 0, 0.9), (0, 0), 9 * 1),
        ((0.51, 0, 0.86), (0, 0), 9 * 5),
        ((0, 0, 0), (0.049, -0.049), 0),
        ((0, 0, 0), (0.051, -0.051), 6),
        ((0, 0, -5), (-40, 20), 9 * 2 + 7),
    ],
    ids=[
        "too short",
        "just long enough",
        "straight up",
        "61 degrees aside",
        "59 degrees aside",
        "too small",
        "small",
        "large",
    ],
)
def test_thresholds(move: tuple[float, float, float], turn: tuple[float, float], expected: int) -> None:
    assert action_classes(pose(move, turn)).item() == expected
