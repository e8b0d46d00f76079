"""How well the dreamed camera keeps to its path: `python -m flashdreams.integrations.pocket.evaluation.steering`.

Every shipped path is dreamed in its scene, and the camera is found again from the dreamed pictures alone, in two ways:
`placed` registers each picture with the true one at the commanded pose, `chained` registers each with the one before
and adds the motions up, aligned with the path at its beginning and in scale, as published figures are made. The same
chain on true pictures is the floor of the method. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from flashdreams.camera.poses import invert, yaw_pitch_of
from flashdreams.camera.trajectory import load_trajectory
from flashdreams.infra.along import as_taken, dream_along
from flashdreams.infra.assets import asset_folder
from flashdreams.infra.world import World
from flashdreams.integrations.pocket.config import pocket_world
from flashdreams.integrations.pocket.evaluation.registration import moved_pose, registered_motion
from flashdreams.integrations.pocket.evaluation.stage import Truth
from flashdreams.integrations.pocket.walk import FPS, FRAMES_PER_CHUNK

Poses = npt.NDArray[np.float64]

TRUTH_SIZE = (128, 72)
PUBLISHED: list[dict[str, Any]] = [
    {"model": "Lyra 2.0", "rotation_deg": 16.145, "translation": 1.538},
    {"model": "Matrix-Game 3.5", "rotation_deg": 19.881, "translation": 1.920},
    {"model": "LingBot-World 2", "rotation_deg": 30.615, "translation": 2.004},
    {"model": "HY-WorldPlay", "rotation_deg": 34.051, "translation": 2.146},
    {"model": "WorldCrafter", "rotation_deg": 13.536, "translation": 1.475},
]
"""Open interactive world models, as their camera was measured by one of them."""
SOURCE = (
    "arXiv 2609.24984 (WorldCrafter), camera control table: other scenes and paths, cameras estimated from the video,"
    " translation in normalised units. To be read beside ours, not against them."
)


def path_errors(truth: Poses, found: Poses) -> dict[str, list[float]]:
    """Rotation error in degrees and position error in units of every pose of `found` against `truth`, `[N, 4, 4]`."""
    turn = np.swapaxes(truth[:, :3, :3], 1, 2) @ found[:, :3, :3]
    cosine = np.clip((np.trace(turn, axis1=1, axis2=2) - 1) / 2, -1, 1)
    away = np.linalg.norm(found[:, :3, 3] - truth[:, :3, 3], axis=1)
    return {"rotation_deg": np.degrees(np.arccos(cosine)).tolist(), "translation_m": away.tolist()}


def aligned(truth: Poses, found: Poses) -> Poses:
    """`found` moved so that it begins at `truth`'s first pose, and scaled about it to fit the path best."""
    placed = truth[0] @ invert(found[:1])[0] @ found
    one, other = (poses[:, :3, 3] - truth[0, :3, 3] for poses in (truth, placed))
    walks = (one * one).sum() > 1e-6 and (other * other).sum() > 1e-6  # a turn on the spot says nothing of scale
    scale = float((one * other).sum() / (other * other).sum()) if walks else 1.0
    placed[:, :3, 3] = truth[0, :3, 3] + scale * other
    return placed


def chained(pictures: Tensor, distances: Tensor, truth: Poses) -> Poses:
    """The camera `[N, 4, 4]` found from pictures `[N, 3, H, W]` one after the other, from the first true pose on."""
    found = [truth[0]]
    for index in range(len(truth) - 1):
        pitch = yaw_pitch_of(truth[index])[1]
        motion = registered_motion(pictures[index], pictures[index + 1], distances[index], pitch)
        found.append(moved_pose(found[-1], motion))
    return np.stack(found)


def placed(dreamed: Tensor, true: Tensor, distances: Tensor, truth: Poses) -> Poses:
    """The camera `[N, 4, 4]` of each dreamed picture, found by registering the true picture of its pose with it."""
    return np.stack([
        moved_pose(pose, registered_motion(picture, dream, distance, yaw_pitch_of(pose)[1]))
        for pose, picture, dream, distance in zip(truth, true, dreamed, distances, strict=True)
    ])  # fmt: skip


def judge(world: World, truth: Truth, path: Path, scene: str, seed: int, seconds: float) -> dict[str, dict[str, float]]:
    """Mean errors of one path in one scene, by way of measuring."""
    poses, _ = as_taken(load_trajectory(path), world.config, world.constrain(scene))
    poses = poses[: 1 + FRAMES_PER_CHUNK * round(seconds * FPS / FRAMES_PER_CHUNK)]
    ends = [frames[-1] for frames in dream_along(world, scene, seed, poses)]
    at = np.minimum(np.arange(len(ends)) * FRAMES_PER_CHUNK, len(poses) - 1)
    commanded = poses[at]
    dreamed = torch.from_numpy(np.stack(ends)).permute(0, 3, 1, 2).float() / 255
    dreamed = F.interpolate(dreamed, (TRUTH_SIZE[1], TRUTH_SIZE[0]), mode="area")
    true, distances = truth.pictures(scene, commanded), truth.distance(scene, commanded)
    ways = {
        "placed": placed(dreamed, true, distances, commanded),
        "chained": aligned(commanded, chained(dreamed, distances, commanded)),
        "chained_truth": aligned(commanded, chained(true, distances, commanded)),
    }
    return {way: {name: float(np.mean(values)) for name, values in path_errors(commanded, found).items()}
            for way, found in ways.items()}  # fmt: skip


def spread(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Mean, standard deviation and largest over the paths, by way of measuring and figure."""
    summary: dict[str, dict[str, dict[str, float]]] = {}
    for way in ("placed", "chained", "chained_truth"):
        summary[way] = {}
        for name in ("rotation_deg", "translation_m"):
            values = np.array([row[way][name] for row in rows])
            summary[way][name] = {"mean": values.mean(), "std": values.std(), "largest": values.max()}
    return summary


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; answers the exit status."""
    parser = argparse.ArgumentParser(description="Measure the dreamed camera against the shipped paths, as JSON.")
    parser.add_argument("--checkpoint", type=Path, help="weights; none: the ones that come along")
    parser.add_argument("--paths", type=Path, default=asset_folder("trajectories"), help="folder of paths")
    parser.add_argument("--scenes", nargs="*", default=[], help="none: all")
    parser.add_argument("--seconds", type=float, default=10.0, help="of every path that are dreamed, 1 to 600")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="also write the JSON there")
    args = parser.parse_args(arguments)
    if not 1 <= args.seconds <= 600 or args.seed < 0:
        parser.error(f"--seconds must lie within 1 and 600 and --seed be 0 or more, got {args.seconds}, {args.seed}")
    config = replace(pocket_world(), checkpoint=args.checkpoint)
    try:
        scenes = [config.scene(name).name for name in args.scenes] or [scene.name for scene in config.scenes]
        world: World = config.setup()
    except (KeyError, OSError, ValueError) as error:
        parser.error(str(error.args[0]))
    truth, rows = Truth(*TRUTH_SIZE, supersample=1), []
    for path, scene in tqdm(list(_walks(args.paths, scenes, [scene.name for scene in config.scenes]))):
        errors = judge(world, truth, path, scene, args.seed, args.seconds)
        rows.append({"path": path.stem, "scene": scene, **errors})
    report = {"seconds": args.seconds, "seed": args.seed, "paths": len(rows), "summary": spread(rows), "rows": rows,
              "published": {"source": SOURCE, "figures": PUBLISHED}}  # fmt: skip
    text = json.dumps(_rounded(report), indent=1)
    print(text)
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(text + "\n", encoding="utf-8")
    return 0


def _walks(folder: Path, scenes: Sequence[str], known: Sequence[str]) -> Iterator[tuple[Path, str]]:
    """Every path with each scene that it fits: its name ends in one, or it fits all."""
    for path in sorted(folder.glob("*.json")):
        own = path.stem.rpartition("-")[2]
        yield from ((path, scene) for scene in scenes if own not in known or own == scene)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return round(float(value), 3) if isinstance(value, float) else value


if __name__ == "__main__":
    sys.exit(main())
