"""Camera paths of the pocket world; `python -m flashdreams.integrations.pocket.camera_paths` writes the files.

Tour, circle and strolls are scripts of keys, walked as in play from a place's entrance; orbits and glides are curves.
Every one is a path that a visitor could take.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from flashdreams.camera.motion import CameraMotion, LiveCamera
from flashdreams.camera.poses import pose_from_yaw_pitch
from flashdreams.camera.trajectory import CameraPath, save_trajectory
from flashdreams.integrations.pocket.scenes.catalog import scene_layouts
from flashdreams.integrations.pocket.scenes.curves import glide, orbit
from flashdreams.integrations.pocket.scenes.movement import (
    EYE_HEIGHT,
    FPS,
    FRAMES_PER_CHUNK,
    MOVE_SPEED,
    PITCH_LIMIT,
    TURN_RATE,
    Footing,
)
from flashdreams.integrations.pocket.scenes.objects import SceneLayout

Script = Sequence[tuple[float, str]]
"""Seconds, and the keys held meanwhile: one letter each."""

TOUR: Script = (
    (0.5, ""),
    (1, "w"),
    (3, "wl"),
    (1, "w"),
    (3, "wl"),
    (2.5, "w"),
    (1.5, "j"),
    (0.5, ""),
    (3, "l"),
    (1.5, "j"),
    (0.4, "i"),
    (0.4, "k"),
    (2, "s"),
)
"""For every place: around a long loop back to the entrance, then up the middle, a look left and right, and back."""
CIRCLE: Script = ((0.5, ""), (6, "l"), (0.5, ""), (0.4, "i"), (3, "j"), (0.8, "k"), (3, "l"), (0.4, "i"), (0.5, ""))
"""For every place: once around on the spot, then half around and back with looks up and down."""
STROLLS: dict[str, Script] = {
    "meadow": (
        (2.5, "w"),
        (0.75, "l"),
        (3, "w"),
        (1, "wj"),
        (1, "w"),
        (1.5, "wj"),
        (2.5, "w"),
        (1.5, "wj"),
        (3, "w"),
    ),
    "dusk": (
        (5, "w"),
        (0.8, "wl"),
        (2, "w"),
        (1.5, "wl"),
        (2, "w"),
        (1.5, "wl"),
        (2.5, "w"),
        (1.2, "wl"),
        (2, "w"),
    ),
    "night": (
        (3, "w"),
        (0.5, "wl"),
        (1.5, "w"),
        (1.25, "wj"),
        (1.5, "w"),
        (1.5, "wj"),
        (2, "w"),
        (1, "wj"),
        (2, "w"),
        (1, "wj"),
        (2, "w"),
    ),
    "snow": (
        (1.5, "w"),
        (1, "wj"),
        (0.5, "w"),
        (2, "wl"),
        (2, "w"),
        (1, "wj"),
        (2.5, "w"),
        (1.5, "wl"),
        (2, "d"),
        (2, "w"),
    ),
    "harbour": (
        (4, "w"),
        (0.8, "wj"),
        (2, "w"),
        (0.9, "wl"),
        (3, "w"),
        (1.6, "l"),
        (3, "w"),
        (1.2, "wl"),
        (2.5, "w"),
    ),
    "garden": (
        (5.5, "w"),
        (0.7, "wl"),
        (2, "w"),
        (1.2, "wj"),
        (2, "w"),
        (1.6, "wj"),
        (2.5, "w"),
        (1.2, "wj"),
        (3, "w"),
    ),
}
"""For one place each: among its things, and against some of them."""


def camera_path(layout: SceneLayout, script: Script) -> npt.NDArray[np.float64]:
    """Camera-to-world `[1 + 4 n, 4, 4]` of a visitor to `layout` who follows `script` in whole chunks."""
    x, z, yaw = layout.start
    motion = CameraMotion(move_speed=MOVE_SPEED, turn_rate=TURN_RATE, pitch_limit=PITCH_LIMIT)
    start = pose_from_yaw_pitch((x, -EYE_HEIGHT, z), yaw, 0.0)
    camera = LiveCamera(start, motion, FPS, Footing(layout).constrain)
    parts, clock = [start[None]], 0.0
    for seconds, keys in script:
        camera.keys(tuple(keys), clock)
        for _ in range(round(seconds * FPS / FRAMES_PER_CHUNK)):
            clock += FRAMES_PER_CHUNK / FPS
            parts.append(camera.next_poses(FRAMES_PER_CHUNK, clock))
    return np.concatenate(parts)


def released_paths() -> dict[str, npt.NDArray[np.float64]]:
    """All paths by file name, without its suffix. Tour and circle fit every place, the others their own."""
    everywhere = scene_layouts()
    paths = {"tour": camera_path(everywhere[0], TOUR), "circle": camera_path(everywhere[0], CIRCLE)}
    for layout in everywhere:
        if layout.name in STROLLS:
            paths[f"stroll-{layout.name}"] = camera_path(layout, STROLLS[layout.name])
        paths |= {f"orbit-{layout.name}": orbit(layout).poses, f"glide-{layout.name}": glide(layout).poses}
    return paths


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Write the camera paths that come with the pocket world.")
    parser.add_argument("--folder", type=Path, default=Path("assets/trajectories"))
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, poses in released_paths().items():
        save_trajectory(CameraPath(poses, FPS), folder / f"{name}.json")
        print(f"{folder / name}.json: {len(poses)} poses, {len(poses) / FPS:.1f} s")


if __name__ == "__main__":
    main()
