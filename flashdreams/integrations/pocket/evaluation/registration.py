"""Registration of camera motion between two images in all degrees of freedom; `motion` does one of them.

The same idea: the true distances of the first picture say what the second should look like after a supposed motion.
Motions of every kind at once are tried on a tiny picture. What is far off may look right there, so the best few are
all settled by steps of Gauss and Newton, on a small picture and then to a fraction of a pixel on a large one.
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

TINY, SMALL, LARGE = (18, 32), (27, 48), (72, 128)
"""Height and width of the pictures that are searched, of those on which the best are settled, and of the last ones."""
RANGES = {"forward": 0.7, "right": 0.7, "yaw": 20.0, "pitch": 14.0}
"""The largest motion looked for from chunk to chunk, in metres and degrees; a visitor's largest is 0.4 and 18."""
_LARGEST = torch.tensor([RANGES[part] for part in PARTS])
CHOICES = (5, 5, 13, 7)
"""Number of amounts of each kind that are tried together, from minus to plus the range."""
STARTS, FINALISTS = 8, 3
"""Number of motions refined on the small image, and of these on the large one."""
APART = 0.18
"""Share of the range by which they differ at least, in one kind."""
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
    tiny, small, large = (Pair(before, after, distance, pitch_deg, size) for size in (TINY, SMALL, LARGE))
    tried = torch.cartesian_prod(*(torch.linspace(-1, 1, n) * end for n, end in zip(CHOICES, _LARGEST, strict=True)))
    found = _best(tried, torch.cat([_cost(tiny, some) for some in tried.split(100)]), STARTS)
    found = _settled(small, found)
    found = _settled(large, _best(found, _cost(small, found), FINALISTS))
    chosen = found[_cost(large, found).argmin()]
    return dict(zip(PARTS, chosen.tolist(), strict=True))


def _best(motions: Tensor, cost: Tensor, count: int) -> Tensor:
    """Up to `count` of `motions [N, 4]` of the least `cost [N]`, no two of them alike."""
    chosen: list[int] = []
    for index in cost.argsort(stable=True).tolist():
        if all(((motions[index] - motions[other]).abs() > APART * _LARGEST).any() for other in chosen):
            chosen.append(index)
        if len(chosen) == count:
            break
    return motions[chosen]


def _settled(pair: Pair, motions: Tensor) -> Tensor:
    """The best motions near each of `motions [N, 4]`: least squares in which a pixel counts less the worse it fits."""
    motions = motions.clone()
    moving = torch.arange(len(motions))
    for _ in range(STEPS):
        before = motions[moving]
        motions[moving] = after = _stepped(pair, before)
        moving = moving[((after - before).abs() >= NUDGES / 8).any(1)]
        if not len(moving):
            break
    return motions


def _stepped(pair: Pair, motions: Tensor) -> Tensor:
    """Return `motions [N, 4]` after a step of Gauss and Newton each, as much of it as lowers the cost most."""
    nudges = torch.cat([torch.zeros(1, len(PARTS)), torch.diag(NUDGES), -torch.diag(NUDGES)])
    error, inside = (
        x.unflatten(0, (len(motions), len(nudges))) for x in pair.error((motions[:, None] + nudges).flatten(0, 1))
    )
    seen = inside.all(1)
    weight = seen / (1 + _squares(pair, error[:, 0])) ** 2
    slope = (error[:, 1:5] - error[:, 5:]).flatten(3) / 2  # over a whole nudge; [N, 4, 3, pixels]
    weighed = slope * weight.flatten(1)[:, None, None]
    curve = torch.einsum("nicp,njcp->nij", weighed, slope)
    pixels = seen.sum((1, 2)).clamp_min(1)[:, None]
    charge = MODESTY * 3 * (OFF * pair.contrast) ** 2 * pixels * (NUDGES / _LARGEST) ** 2
    uphill = torch.einsum("nicp,ncp->ni", weighed, error[:, 0].flatten(2)) + charge * motions / NUDGES
    step = -torch.linalg.solve(curve + torch.diag_embed(charge), uphill) * NUDGES
    tried = (motions[:, None] + LENGTHS[:, None] * step[:, None]).clamp(-_LARGEST, _LARGEST)
    chosen = _cost(pair, tried.flatten(0, 1)).unflatten(0, tried.shape[:2]).argmin(1)
    return tried[torch.arange(len(tried)), chosen]


def _cost(pair: Pair, motions: Tensor) -> Tensor:
    """Return the cost `[N]` of `motions [N, 4]`: an error e counts e^2 / (1 + e^2)."""
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
