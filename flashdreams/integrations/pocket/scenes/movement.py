"""Movement in the pocket world: collisions, and random camera paths for training and evaluation."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from flashdreams.integrations.pocket.scenes.catalog import BODY_RADIUS, WALK_RADIUS
from flashdreams.integrations.pocket.scenes.objects import SceneLayout

Floats = npt.NDArray[np.float64]

EYE_HEIGHT = 1.6
MOVE_SPEED = 2.4
"""Walking speed, metres per second."""
TURN_RATE = 60.0
"""Turning with keys, degrees per second."""
PITCH_LIMIT = 30.0
FPS = 24
FRAMES_PER_CHUNK = 4


class Footing:
    """The walkable part of a place: inside a circle, outside its obstacles."""

    def __init__(self, layout: SceneLayout) -> None:
        self.circles = [(x, z, radius + BODY_RADIUS) for x, z, radius in layout.obstacles]

    def slide(self, xz: Floats) -> Floats:
        """The nearest allowed positions for `xz [N, 2]`: walking against a thing slides along it."""
        xz = xz.copy()
        for _ in range(2):
            radius = np.linalg.norm(xz, axis=-1, keepdims=True)
            xz *= np.minimum(1.0, WALK_RADIUS / np.maximum(radius, 1e-9))
            for x, z, reach in self.circles:
                off = xz - [x, z]
                gap = np.linalg.norm(off, axis=-1, keepdims=True)
                out = off / np.maximum(gap, 1e-6) * reach
                out = np.where(gap < 1e-6, [reach, 0.0], out)
                xz = np.where(gap < reach, out + np.array([x, z]), xz)
        return xz

    def constrain(self, previous: Floats, wanted: Floats) -> Floats:
        """Return where a camera from `previous` to `wanted`, both `[3]`, gets: on the ground, around things."""
        # One position at a time, on the way from key to picture: plain numbers are fifty times faster than arrays here.
        x, z = float(wanted[0]), float(wanted[2])
        for _ in range(2):
            radius = math.sqrt(x * x + z * z)
            shrink = min(1.0, WALK_RADIUS / max(radius, 1e-9))
            x, z = x * shrink, z * shrink
            for cx, cz, reach in self.circles:
                off_x, off_z = x - cx, z - cz
                gap = math.sqrt(off_x * off_x + off_z * off_z)
                if gap < 1e-6:
                    x, z = reach + cx, cz
                elif gap < reach:
                    x, z = off_x / gap * reach + cx, off_z / gap * reach + cz
        return np.array([x, -EYE_HEIGHT, z])


def random_camera_paths(
    layout: SceneLayout, rng: np.random.Generator, count: int, chunks: int
) -> tuple[Floats, Floats, Floats]:
    """Random play from random spots: positions `[count, F, 2]`, yaw `[count, F]` and pitch in degrees, at every frame.

    F = 1 + chunks * 4: a start frame, then whole chunks. What is pressed changes only between chunks, as in play.
    """
    footing = Footing(layout)
    frames = 1 + chunks * FRAMES_PER_CHUNK
    angle, radius = rng.uniform(0, 2 * np.pi, count), WALK_RADIUS * np.sqrt(rng.uniform(0, 1, count))
    xz = footing.slide(np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1))
    yaw, pitch = rng.uniform(-180, 180, count), np.clip(rng.normal(0, 9, count), -28, 28)
    positions, yaws, pitches = np.empty((count, frames, 2)), np.empty((count, frames)), np.empty((count, frames))
    positions[:, 0], yaws[:, 0], pitches[:, 0] = xz, yaw, pitch
    left = np.zeros(count, dtype=int)
    forward, strafe, turn, tilt = (np.zeros(count) for _ in range(4))
    for frame in range(1, frames):
        if (frame - 1) % FRAMES_PER_CHUNK == 0:
            new = left <= 0
            forward = np.where(new, rng.choice([0, 1, 1, 1, -1], count), forward)
            strafe = np.where(new, rng.choice([0, 0, 0, 0, 1, -1], count), strafe)
            mouse = rng.random(count) < 0.3
            turned = np.where(mouse, rng.normal(0, 70, count), TURN_RATE * rng.choice([0, 0, 1, -1], count))
            turn = np.where(new, turned, turn)
            tilt = np.where(new, np.where(rng.random(count) < 0.25, rng.normal(0, 25, count), 0.0), tilt)
            still = new & (rng.random(count) < 0.08)
            forward, strafe, turn, tilt = (np.where(still, 0.0, v) for v in (forward, strafe, turn, tilt))
            left = np.where(new, rng.integers(1, 10, count), left) - 1
        yaw = yaw + turn / FPS
        pitch = np.clip(pitch + tilt / FPS, -PITCH_LIMIT, PITCH_LIMIT)
        next_chunk = np.stack([np.sin(np.radians(yaw)), np.cos(np.radians(yaw))], -1)
        right = np.stack([next_chunk[:, 1], -next_chunk[:, 0]], -1)
        xz = footing.slide(xz + (forward[:, None] * next_chunk + strafe[:, None] * right) * (MOVE_SPEED / FPS))
        positions[:, frame], yaws[:, frame], pitches[:, frame] = xz, yaw, pitch
    return positions, yaws, pitches


def key_path_poses(positions: Floats, yaws: Floats, pitches: Floats) -> Floats:
    """Camera-to-world `[..., 4, 4]` for `random_camera_paths`' answer."""
    cy, sy, cp, sp = (f(np.radians(angle)) for angle in (yaws, pitches) for f in (np.cos, np.sin))
    poses = np.zeros((*yaws.shape, 4, 4))
    poses[..., 0, 0], poses[..., 0, 1], poses[..., 0, 2] = cy, sy * sp, sy * cp
    poses[..., 1, 1], poses[..., 1, 2] = cp, -sp
    poses[..., 2, 0], poses[..., 2, 1], poses[..., 2, 2] = -sy, cy * sp, cy * cp
    poses[..., 0, 3], poses[..., 1, 3], poses[..., 2, 3] = positions[..., 0], -EYE_HEIGHT, positions[..., 1]
    poses[..., 3, 3] = 1.0
    return poses
