"""Does the dreamed camera follow the commands for long? Motion registered from chunk to chunk of a long walk."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor

from flashdreams.camera.poses import yaw_pitch_of
from flashdreams.integrations.pocket.evaluation.motion import PARTS, commanded_motion
from flashdreams.integrations.pocket.evaluation.registration import registered_motion
from flashdreams.integrations.pocket.evaluation.stage import Poses, Samples, Stage, new_seed
from flashdreams.integrations.pocket.scenes.movement import FRAMES_PER_CHUNK

TOLERANCE = np.array([0.1, 0.1, 2.5, 2.5])
"""Metres and degrees, by `PARTS`: a quarter of what a key moves the camera by in a chunk."""


def action_following(stage: Stage, scene: str, camera_paths: int, chunks: int) -> Samples:
    """Correlation of generated with commanded motion, by kind of motion, over each of random `camera_paths`.

    Counted are the chunks in which registration is right about the true pictures, `counted_percent` of all: before an
    even wall or sky, or after a flick of the mouse, it cannot tell. `correlation_of_truth` is that of the true
    pictures' own motion in the same chunks: what registration leaves of a perfect dream's.
    """
    rng = stage.rng(scene, 9)
    found: Samples = {}
    for camera_path in stage.camera_paths(scene, rng, camera_paths, chunks):
        rollout, ends = stage.world.start(scene, new_seed(rng)), camera_path[::FRAMES_PER_CHUNK]
        generated = torch.stack([frames[-1] for frames in stage.generate(rollout, camera_path)])
        true, distance = stage.truth.images(scene, ends), stage.truth.distance(scene, ends)
        commanded = _table([commanded_motion(a, b) for a, b in itertools.pairwise(ends)])
        right = _motions(true, distance, ends)
        counted = (np.abs(right - commanded) < TOLERANCE).all(1)
        found.setdefault("counted_percent", []).append(100.0 * float(counted.mean()))
        seen = {"correlation": _motions(generated, distance, ends, counted), "correlation_of_truth": right[counted]}
        for index, part in enumerate(PARTS):
            wanted = commanded[counted, index]
            if len(wanted) > 1 and wanted.std() > 1e-6:
                for name, motions in seen.items():
                    found.setdefault(f"{part}_{name}", []).append(_correlation(wanted, motions[:, index]))
    return found


def _correlation(wanted: np.ndarray, seen: np.ndarray) -> float:
    """Of two series; 0 where what is seen never moves."""
    return float(np.corrcoef(wanted, seen)[0, 1]) if seen.std() > 1e-6 else 0.0


def _motions(images: Tensor, distance: Tensor, poses: Poses, counted: np.ndarray | None = None) -> np.ndarray:
    """`[N, 4]` by `PARTS`: the motion from each picture to the next, or of those that are `counted` alone."""
    numbers = range(len(images) - 1) if counted is None else np.flatnonzero(counted)
    return _table(
        [registered_motion(images[n], images[n + 1], distance[n], yaw_pitch_of(poses[n])[1]) for n in numbers]
    )


def _table(motions: list[dict[str, float]]) -> np.ndarray:
    """`[N, 4]`: motions by `PARTS`."""
    return np.array([[motion[part] for part in PARTS] for motion in motions]).reshape(-1, len(PARTS))
