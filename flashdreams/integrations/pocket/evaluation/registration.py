"""How a camera moved between two pictures when it moves in every way at once; `motion` does so for one way alone.

The same idea: the true distances of the first picture say what the second should look like after a supposed motion.
A search over a small picture, two kinds of motion at a time, comes near the motion that explains the second picture
best; steps of Gauss and Newton on a larger picture then find it to a fraction of a pixel.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from flashdreams.camera.poses import pose_from_yaw_pitch, yaw_pitch_of
from flashdreams.integrations.pocket.evaluation.motion import PARTS, Pair

Floats = npt.NDArray[np.float64]

SMALL, LARGE = (27, 48), (72, 128)
"""Height and width of the pictures that are searched, and of those that settle it."""
RANGES = {"forward": 0.7, "right": 0.7, "yaw": 14.0, "pitch": 14.0}
"""The largest motion looked for from chunk to chunk, in metres and degrees; a visitor's largest is 0.4 and 10."""
_LARGEST = torch.tensor([RANGES[part] for part in PARTS])
CHOICES = 9
"""Amounts tried at a time of each of two kinds, from minus to plus the range."""
SHRINK, ROUNDS = 0.6, 4
"""By how much the range narrows from round to round of the search, and how many there are."""
NUDGES = torch.tensor([0.02, 0.02, 0.25, 0.25])
"""Metres and degrees by which the slope of the picture's error is found: about half a pixel."""
LENGTHS = torch.tensor([1.0, 0.5, 0.2, 0.0])
"""Shares of a step that are tried; the last one ends it."""
STEPS = 15
"""The most steps; most end after a few."""
OFF = 0.2
"""From this share of the picture's contrast on, an error says that something else is there, and less and less of it."""
MODESTY = 3e-3
"""Error that a motion as large as its range is charged with, so that what the pictures do not tell counts as rest."""


@torch.no_grad()
def registered_motion(before: Tensor, after: Tensor, distance: Tensor, pitch_deg: float) -> dict[str, float]:
    """The motion by `PARTS` from picture `before` to `after`, both `[3, H, W]` in [0, 1].

    Args:
        before: what the camera saw first.
        after: what it saw then.
        distance: metres `[H, W]` to what the first picture shows.
        pitch_deg: how far up the first camera looked.
    """
    found = _searched(Pair(before, after, distance, pitch_deg, SMALL))
    settled = _settled(Pair(before, after, distance, pitch_deg, LARGE), found)
    return dict(zip(PARTS, settled.tolist(), strict=True))


def _searched(pair: Pair) -> Tensor:
    """Near the best motion `[4]`, from anywhere within `RANGES`."""
    best, span = torch.zeros(len(PARTS)), _LARGEST
    grid = torch.cartesian_prod(torch.linspace(-1, 1, CHOICES), torch.linspace(-1, 1, CHOICES))
    for _ in range(ROUNDS):
        # A turn looks much like a step aside, and a tilt like a step ahead: each pair is searched together.
        for searched in ([2, 1], [3, 0]):
            tried = best.repeat(len(grid), 1)
            tried[:, searched] += grid * span[searched]
            best = tried[pair.misfit(tried, _LARGEST).argmin()]
        span = span * SHRINK
    return best


def _settled(pair: Pair, motion: Tensor) -> Tensor:
    """The best motion `[4]` near `motion`: least squares in which a pixel counts the less the worse it fits."""
    for _ in range(STEPS):
        nudged = torch.cat([motion[None], motion + torch.diag(NUDGES), motion - torch.diag(NUDGES)])
        error, inside = pair.error(nudged)
        weight = inside.all(0) / (1 + _squares(pair, error[:1])[0]) ** 2
        slope = (error[1:5] - error[5:]).flatten(2) / 2  # over a whole nudge; [4, 3, pixels]
        weighed = slope * weight.flatten()
        curve = torch.einsum("icp,jcp->ij", weighed, slope)
        charge = MODESTY * 3 * (OFF * pair.contrast) ** 2 * inside.all(0).sum().clamp_min(1) * (NUDGES / _LARGEST) ** 2
        uphill = torch.einsum("icp,cp->i", weighed, error[0].flatten(1)) + charge * motion / NUDGES
        step = -torch.linalg.solve(curve + torch.diag(charge), uphill) * NUDGES
        tried = motion + LENGTHS[:, None] * step
        chosen = int(_cost(pair, tried).argmin())
        motion = tried[chosen]
        if chosen == len(LENGTHS) - 1 or bool((step.abs() < NUDGES / 8).all()):
            break
    return motion


def _cost(pair: Pair, motions: Tensor) -> Tensor:
    """What `_settled` makes small, `[N]` for `motions [N, 4]`: an error e counts e^2 / (1 + e^2)."""
    error, inside = pair.error(motions)
    squares = _squares(pair, error)
    misfit = (squares / (1 + squares) * inside).sum((1, 2)) / inside.sum((1, 2)).clamp_min(1)
    return misfit + MODESTY * (motions / _LARGEST).square().sum(1)


def _squares(pair: Pair, error: Tensor) -> Tensor:
    """Squared errors `[N, h, w]` of pixels, in units of `OFF`."""
    return error.square().mean(1) / (OFF * pair.contrast) ** 2


def moved_pose(pose: Floats, motion: dict[str, float]) -> Floats:
    """The pose `[4, 4]` after a motion by `PARTS` from `pose`, its steps along the heading half-way."""
    yaw, pitch = yaw_pitch_of(pose)
    middle = math.radians(yaw + motion["yaw"] / 2)
    sin, cos = math.sin(middle), math.cos(middle)
    x = motion["forward"] * sin + motion["right"] * cos
    z = motion["forward"] * cos - motion["right"] * sin
    return pose_from_yaw_pitch(pose[:3, 3] + [x, 0.0, z], yaw + motion["yaw"], pitch + motion["pitch"])
