"""Offline rollouts along a camera path, with the same poses as those of a visitor who follows it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from flashdreams.camera.motion import LiveCamera
from flashdreams.camera.trajectory import CameraPath
from flashdreams.infra.world.base import Constrain, Controls, World, WorldConfig

Poses = npt.NDArray[np.float64]

SAME_PLACE, SAME_DIRECTION = 0.01, 0.1
"""Units and degrees: a pose that is changed by less counts as followed."""
OFF_GROUND, OUTSIDE = 0.3, 1.0
"""Units: a path that a world's rules would lift or move by more was made in other coordinates."""


def lies_in_world(poses: Poses, constrain: Constrain | None) -> bool:
    """Return True if `poses [N, 4, 4]` look like a path of this place: on its ground, beginning where one can stand."""
    if constrain is None:
        return True
    places = poses[:, :3, 3]
    allowed = np.stack([constrain(place, place) for place in places])
    off = np.abs(allowed[:, 1] - places[:, 1]).max()
    return bool(off < OFF_GROUND and np.linalg.norm(allowed[0] - places[0]) < OUTSIDE)


def as_taken(path: CameraPath, config: WorldConfig, constrain: Constrain | None) -> tuple[Poses, int]:
    """Return the poses `[N, 4, 4]` of a visitor who follows the path, and how many of them are not quite the path's."""
    wanted = path.resample(config.fps).poses
    camera = LiveCamera(wanted[0], config.motion, config.fps, constrain)
    camera.path(path.poses, path.fps)
    taken = camera.next_poses(len(wanted), 0.0)
    turned = np.abs(taken[:, :3, :3] - wanted[:, :3, :3]).max(axis=(1, 2)) > np.radians(SAME_DIRECTION)
    moved = np.linalg.norm(taken[:, :3, 3] - wanted[:, :3, 3], axis=1) > SAME_PLACE
    return taken, int((turned | moved).sum())


def generate_along(world: World, scene: str, seed: int, poses: Poses) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield frames uint8 `[T, H, W, 3]` of a new rollout along `poses [N, 4, 4]`, a chunk at a time, N frames in all.

    Raises what the world raises.
    """
    rollout, begin = world.start(scene, seed), 0
    while begin < len(poses):
        count = world.frames_in_chunk(rollout.index)
        chunk = poses[begin : begin + count]
        # The last chunk is generated whole; the camera rests at the end of the path.
        whole = np.concatenate([chunk, np.repeat(chunk[-1:], count - len(chunk), 0)])
        frames = world.step(rollout, Controls(poses=whole))
        world.finalize(rollout)
        yield frames[: len(chunk)]
        begin += count
