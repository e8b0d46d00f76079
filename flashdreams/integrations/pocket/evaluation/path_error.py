"""Error of the generated camera along its path: `python -m flashdreams.integrations.pocket.evaluation.path_error`.

Every shipped path is dreamed in its scene, and the camera is found again from the dreamed pictures alone, in two ways:
`placed` registers each picture with the true one at the commanded pose, `chained` registers each with the one before
and adds the motions up, aligned with the path at its beginning and in scale, as published figures are made. Each is
done with true pictures too, `..._truth`: the method's own error. A picture in which nothing is to be recognised counts
as being in place, but breaks a chain: read the two together. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
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
from flashdreams.files import drafted
from flashdreams.infra.assets import asset_folder
from flashdreams.infra.world.base import World
from flashdreams.infra.world.offline_rollout import as_taken, generate_along
from flashdreams.integrations.pocket.config import pocket_world
from flashdreams.integrations.pocket.evaluation.motion import PARTS, commanded_motion
from flashdreams.integrations.pocket.evaluation.published import PUBLISHED
from flashdreams.integrations.pocket.evaluation.registration import moved_pose, registered_motion
from flashdreams.integrations.pocket.evaluation.stage import Truth
from flashdreams.integrations.pocket.scenes.movement import FPS, FRAMES_PER_CHUNK

Poses = npt.NDArray[np.float64]

TRUTH_SIZE = (128, 72)
WAYS = ("placed", "placed_truth", "chained", "chained_truth")
FIGURES = ("rotation_deg", "translation_m")
STRAY = {"forward": 0.25, "right": 0.25, "yaw": 2.0, "pitch": 1.0}
"""Metres and degrees by which the true cameras of `placed_truth` are off at most."""


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
    moves = (one * one).sum() > 1e-6 and (other * other).sum() > 1e-6  # a turn on the spot says nothing of scale
    scale = float((one * other).sum() / (other * other).sum()) if moves else 1.0
    placed[:, :3, 3] = truth[0, :3, 3] + scale * other
    return placed


def chained(images: Tensor, distances: Tensor, truth: Poses) -> Poses:
    """The camera `[N, 4, 4]` found from pictures `[N, 3, H, W]` one after the other, from the first true pose on."""
    found = [truth[0]]
    for index in range(len(truth) - 1):
        pitch = yaw_pitch_of(truth[index])[1]
        motion = registered_motion(images[index], images[index + 1], distances[index], pitch)
        found.append(moved_pose(found[-1], motion))
    return np.stack(found)


def placed(generated: Tensor, true: Tensor, distances: Tensor, truth: Poses) -> Poses:
    """The camera `[N, 4, 4]` of each dreamed picture, found by registering the true picture of its pose with it."""
    return np.stack(
        [
            moved_pose(pose, registered_motion(image, dream, distance, yaw_pitch_of(pose)[1]))
            for pose, image, dream, distance in zip(truth, true, generated, distances, strict=True)
        ]
    )


def strayed(truth: Poses, seed: int) -> Poses:
    """Cameras `[N, 4, 4]` that are off from `truth` by random motions within `STRAY`."""
    amounts = np.random.default_rng(seed).uniform(-1, 1, (len(truth), len(PARTS))) * [STRAY[part] for part in PARTS]
    return np.stack(
        [moved_pose(pose, dict(zip(PARTS, amount, strict=True))) for pose, amount in zip(truth, amounts, strict=True)]
    )


@dataclass(frozen=True)
class FollowedPath:
    """Errors along one path in one scene."""

    errors: dict[str, dict[str, float]]
    """Means by way of measuring and figure."""
    off: npt.NDArray[np.float64]
    """`[N, 4]` by `PARTS`: how far the placed camera is from the commanded one, chunk by chunk."""
    speed: npt.NDArray[np.float64]
    """`[N, 4]` by `PARTS`: how fast the commanded one moves there, metres and degrees a second."""


def judge(world: World, truth: Truth, path: Path, scene: str, seed: int, seconds: float) -> FollowedPath:
    """Dream along one path in one scene and find the camera again."""
    poses, _ = as_taken(load_trajectory(path), world.config, world.constrain(scene))
    poses = poses[: 1 + FRAMES_PER_CHUNK * round(seconds * FPS / FRAMES_PER_CHUNK)]
    ends = [frames[-1] for frames in generate_along(world, scene, seed, poses)]
    at = np.minimum(np.arange(len(ends)) * FRAMES_PER_CHUNK, len(poses) - 1)
    commanded = poses[at]
    generated = torch.from_numpy(np.stack(ends)).permute(0, 3, 1, 2).float() / 255
    generated = F.interpolate(generated, (TRUTH_SIZE[1], TRUTH_SIZE[0]), mode="area")
    true, distances = truth.images(scene, commanded), truth.distance(scene, commanded)
    known = strayed(commanded, seed)
    found = {
        "placed": placed(generated, true, distances, commanded),
        "placed_truth": placed(truth.images(scene, known), true, distances, commanded),
        "chained": aligned(commanded, chained(generated, distances, commanded)),
        "chained_truth": aligned(commanded, chained(true, distances, commanded)),
    }
    errors = {way: path_errors(known if way == "placed_truth" else commanded, found[way]) for way in WAYS}
    means = {way: {name: float(np.mean(values)) for name, values in of.items()} for way, of in errors.items()}
    return FollowedPath(
        means, _motions(commanded, found["placed"])[1:], _motions(commanded[:-1], commanded[1:]) * FPS / 4
    )


def _motions(before: Poses, after: Poses) -> npt.NDArray[np.float64]:
    """`[N, 4]` by `PARTS` from each pose to its counterpart."""
    return np.array([list(commanded_motion(one, other).values()) for one, other in zip(before, after, strict=True)])


def spread(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Mean, standard deviation and largest over the paths, by way of measuring and figure."""
    summary: dict[str, dict[str, dict[str, float]]] = {}
    for way in WAYS:
        summary[way] = {}
        for name in FIGURES:
            values = np.array([row[way][name] for row in rows])
            summary[way][name] = {"mean": values.mean(), "std": values.std(), "largest": values.max()}
    return summary


def behind(camera_paths: Sequence[FollowedPath]) -> dict[str, float | None]:
    """Seconds by which the dreamed camera comes after the commanded one, by least squares; None where none moved."""
    off, speed = (
        np.concatenate([getattr(camera_path, name) for camera_path in camera_paths]) for name in ("off", "speed")
    )
    squares = (speed * speed).sum(0)
    late = -(off * speed).sum(0) / np.where(squares > 0, squares, 1)
    return {part: float(late[i]) if squares[i] > 1 else None for i, part in enumerate(PARTS)}


class Judge:
    """One process's world and renderer."""

    def __init__(self, checkpoint: Path | None, seed: int, seconds: float) -> None:
        self.world: World = replace(pocket_world(), checkpoint=checkpoint).setup()
        self._truth, self._seed, self._seconds = Truth(*TRUTH_SIZE), seed, seconds

    def follow_path(self, path: Path, scene: str) -> FollowedPath:
        """See `judge`."""
        return judge(self.world, self._truth, path, scene, self._seed, self._seconds)


def judge_all(
    jobs: Sequence[tuple[Path, str]], first: Judge, processes: int, settings: tuple[Any, ...]
) -> list[FollowedPath]:
    """Every job's result in their order, with a progress bar; `settings` are those that `first` was made with."""
    if processes == 1:
        return [first.follow_path(*job) for job in tqdm(jobs, unit="path")]
    # Not forked from here: a process that has used torch's threads cannot be copied safely. Torch is imported once.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["flashdreams.integrations.pocket.evaluation.stage"])
    with ProcessPoolExecutor(processes, context, _begin, settings) as pool:
        futures = [pool.submit(_follow_path, *job) for job in jobs]
        for future in tqdm(as_completed(futures), total=len(futures), unit="path"):
            if future.exception() is not None:
                pool.shutdown(wait=False, cancel_futures=True)
                future.result()
    return [future.result() for future in futures]


_judge: Judge | None = None


def _begin(*settings: Any) -> None:
    """Set a process of the pool up."""
    global _judge
    torch.set_num_threads(1)
    _judge = Judge(*settings)


def _follow_path(path: Path, scene: str) -> FollowedPath:
    assert _judge is not None, "the pool calls _begin first"
    return _judge.follow_path(path, scene)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; answers the exit status."""
    parser = argparse.ArgumentParser(description="Measure the dreamed camera against the shipped paths, as JSON.")
    parser.add_argument("--checkpoint", type=Path, help="weights; none: the ones that come along")
    parser.add_argument("--paths", type=Path, default=asset_folder("trajectories"), help="folder of paths")
    parser.add_argument("--scenes", nargs="*", default=[], help="none: all")
    parser.add_argument("--seconds", type=float, default=4.0, help="of every path that are dreamed, 1 to 600")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=min(os.cpu_count() or 1, 4), help="at a time, 1 to 64")
    parser.add_argument("--output", type=Path, help="also write the JSON there")
    args = parser.parse_args(arguments)
    for name, low, high in (("seconds", 1, 600), ("seed", 0, 2**32 - 1), ("processes", 1, 64)):
        if not low <= getattr(args, name) <= high:
            parser.error(f"--{name} must be from {low} to {high}, got {getattr(args, name)}")
    settings = (args.checkpoint, args.seed, args.seconds)
    try:
        known = [scene.name for scene in pocket_world().scenes]
        scenes = [pocket_world().scene(name).name for name in args.scenes] or known
        jobs = list(_camera_paths(args.paths, scenes, known))
        if not jobs:
            raise ValueError(
                f"--paths must be a folder with camera paths (.json) for {', '.join(scenes)}: {args.paths}"
            )
        first = Judge(*settings)  # now, rather than in every process: what is wrong with a file is told once
    except (KeyError, OSError, ValueError) as error:
        parser.error(str(error.args[0] if isinstance(error, KeyError) else error))
    camera_paths = judge_all(jobs, first, min(args.processes, len(jobs)), settings)
    rows = [
        {"path": path.stem, "scene": scene, **camera_path.errors}
        for (path, scene), camera_path in zip(jobs, camera_paths, strict=True)
    ]
    report = {
        "seconds": args.seconds,
        "seed": args.seed,
        "model": first.world.fingerprint(),
        "paths": len(rows),
        "summary": spread(rows),
        "behind_s": behind(camera_paths),
        "rows": rows,
        "published": PUBLISHED,
    }
    text = json.dumps(_rounded(report), indent=1)
    print(text)
    if args.output:
        with drafted(args.output) as draft:
            draft.write_text(text + "\n", encoding="utf-8")
    return 0


def _camera_paths(folder: Path, scenes: Sequence[str], known: Sequence[str]) -> Iterator[tuple[Path, str]]:
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
