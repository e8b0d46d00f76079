"""Camera paths that are curves instead of walks by keys: around a place's landmark, and gliding across it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from flashdreams.camera.poses import pose_from_yaw_pitch
from flashdreams.camera.splines import at_speed, eased, through_keys
from flashdreams.camera.trajectory import CameraPath
from flashdreams.integrations.pocket.scenes.catalog import WALK_RADIUS
from flashdreams.integrations.pocket.scenes.movement import EYE_HEIGHT, FPS, Footing
from flashdreams.integrations.pocket.scenes.objects import SceneLayout

Poses = npt.NDArray[np.float64]

SPEED, TURN_RATE = 1.6, 38.0
"""Metres and degrees a second on average; easing makes it half as fast again in the middle, as fast as keys do."""
ORBIT_GAP, ORBIT_KEYS = 3.2, 16
"""Metres between the landmark and the path around it, and key poses of a full circle."""
GLIDE_KEYS = 7
LOOK_AHEAD = 1.5
"""Seconds ahead on its way that a gliding camera looks."""


def orbit(layout: SceneLayout) -> CameraPath:
    """Once around the landmark, looking at it: the widest thing that visitors cannot enter near the middle."""
    x, z, radius = max(layout.obstacles, key=lambda thing: thing[2] / (4.0 + math.hypot(thing[0], thing[1])))
    start = math.atan2(layout.start[1] - z, layout.start[0] - x)
    angles = start + np.linspace(0, 2 * math.pi, ORBIT_KEYS + 1)
    spots = np.stack([x + (radius + ORBIT_GAP) * np.cos(angles), z + (radius + ORBIT_GAP) * np.sin(angles)], axis=1)
    return _curve_path(layout, spots, lambda spot, _: (x - spot[0], z - spot[1]))


def glide(layout: SceneLayout) -> CameraPath:
    """From the entrance to and fro across the place and around its middle, looking where it goes."""
    first = np.array(layout.start[:2])
    angle = math.atan2(first[1], first[0])
    turns = angle + np.linspace(0, 1.6 * math.pi, GLIDE_KEYS)
    reach = np.hypot(*first) * np.linspace(1.0, 0.55, GLIDE_KEYS)
    spots = np.stack([reach * np.cos(turns), reach * np.sin(turns)], axis=1)
    return _curve_path(layout, np.clip(spots, -WALK_RADIUS, WALK_RADIUS), lambda spot, forward: forward - spot)


def _curve_path(layout: SceneLayout, spots: Poses, towards: Callable[[Poses, Poses], npt.ArrayLike]) -> CameraPath:
    """A path through `spots [K, 2]`, around what stands in the way, that looks `towards(spot, spot ahead)`."""
    footing = Footing(layout)
    keys = np.stack([pose_from_yaw_pitch([x, -EYE_HEIGHT, z], 0, 0) for x, z in footing.slide(spots)])
    curve = at_speed(through_keys(keys, np.arange(len(keys), dtype=float), FPS), SPEED, 360.0)
    ground = footing.slide(curve.poses[:, [0, 2], 3])
    kernel = np.ones(FPS) / FPS  # a second: what slides along an obstacle has corners
    padded = np.pad(ground, ((FPS // 2, FPS - 1 - FPS // 2), (0, 0)), mode="edge")
    ground = np.stack([np.convolve(padded[:, axis], kernel, mode="valid") for axis in (0, 1)], axis=1)
    forward = ground[np.minimum(np.arange(len(ground)) + round(LOOK_AHEAD * FPS), len(ground) - 1)]
    looks = np.array([towards(spot, there) for spot, there in zip(ground, forward, strict=True)])
    heading = np.unwrap(np.arctan2(looks[:, 0], looks[:, 1]))
    arrived = np.hypot(looks[:, 0], looks[:, 1]) < 0.3
    if arrived.any():  # at its end a path has nothing ahead: it keeps looking as it last did
        heading[arrived] = heading[np.flatnonzero(~arrived)[-1]]
    poses = [
        pose_from_yaw_pitch([x, -EYE_HEIGHT, z], math.degrees(yaw), 0.0)
        for (x, z), yaw in zip(footing.slide(ground), heading, strict=True)
    ]
    ride = eased(at_speed(CameraPath(np.stack(poses), FPS), SPEED, TURN_RATE), "in-out")
    ride.poses[:, [0, 2], 3] = footing.slide(ride.poses[:, [0, 2], 3])  # a chord between poses cuts corners
    return ride
