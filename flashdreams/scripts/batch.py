"""`flashdreams-batch <world>`: render a folder of camera paths with several seeds and scenes; stops and goes on."""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from flashdreams.camera.trajectory import CameraPath, load_trajectory, log_notes
from flashdreams.configs.worlds import get_world
from flashdreams.core.checkpoint.fingerprint import checkpoint_identity
from flashdreams.files import drafted
from flashdreams.infra.assets import asset_folder
from flashdreams.infra.media.video import Mp4File
from flashdreams.infra.world.base import World, WorldConfig
from flashdreams.infra.world.offline_rollout import as_taken, generate_along, lies_in_world
from flashdreams.scripts.contact_sheet import Clip, write_sheet
from flashdreams.terminal import tolerate_any_letter

SUFFIXES = frozenset({".json", ".txt", ".tum", ".npz", ".npy"})
STRIP = 6
"""Pictures of a clip that the contact sheet shows."""


@dataclass(kw_only=True)
class BatchConfig:
    """Settings of a batch."""

    world: Annotated[str, tyro.conf.Positional] = "pocket"
    """Slug of the world that dreams."""
    paths: tuple[Path, ...] = ()
    """Camera path files, and folders of them; none means those that come along."""
    scenes: tuple[str, ...] = ()
    """Scenes to render every path in; none means all. A path named `...-<scene>` is rendered in that scene alone."""
    seeds: tuple[int, ...] = (0,)
    """Every path is rendered with each of these seeds."""
    output: Path = Path("outputs/batch")
    """Folder for the clips, the list of what is done (batch.json) and the contact sheet (index.html)."""
    path_fps: float | None = None
    """Poses per second of files that name no rate (NumPy's); None takes 16."""
    checkpoint: Path | None = None
    """The weights; None takes the world's own."""
    again: bool = False
    """Render everything again, also what is there and would come out the same."""


@dataclass(frozen=True)
class Job:
    """One clip to render."""

    path: Path
    trajectory: CameraPath
    scene: str
    seed: int
    digest: str
    """Of everything that shapes its frames: a clip whose digest is in the list is done."""

    @property
    def name(self) -> str:
        """The clip's file name."""
        stem = self.path.parent.name if self.path.name == "poses.npy" else self.path.stem
        return f"{stem}_{self.scene}_{self.seed}.mp4"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns its exit status: 0 when all clips are there, 1 for a mistake, 130 when it was stopped.
    """
    tolerate_any_letter()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    config = tyro.cli(BatchConfig, prog="flashdreams-batch", description=__doc__, args=argv)
    try:
        render(config)
    except (ValueError, KeyError, OSError, ImportError) as error:
        print(f"flashdreams-batch: {error.args[0] if isinstance(error, KeyError) else error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on where it was", file=sys.stderr)
        return 130
    return 0


def render(config: BatchConfig) -> Path:
    """Render what is not there yet; answers the contact sheet. Raises ValueError, KeyError or OSError for a mistake."""
    world_config = get_world(config.world)
    if config.checkpoint is not None:
        world_config = replace(world_config, checkpoint=config.checkpoint)
    jobs = plan(config, world_config)
    config.output.mkdir(parents=True, exist_ok=True)
    done = {} if config.again else read_list(config.output)
    todo = [job for job in jobs if not is_done(job, done, config.output)]
    print(f"{len(jobs)} clips, {len(jobs) - len(todo)} of them done", flush=True)
    if todo:
        world: World = world_config.setup()
        total = sum(len(job.trajectory.resample(world_config.fps)) for job in todo)
        with logging_redirect_tqdm(), tqdm(total=total, unit="frame") as bar:
            for job in todo:
                bar.set_description(job.name)
                done[job.name] = asdict(render_clip(world, job, config.output, bar))
                write_list(config.output, done)
                write_sheet(config.output, _clips(jobs, done), world_config.title)
    write_sheet(config.output, _clips(jobs, done), world_config.title)
    print(config.output / "index.html")
    return config.output / "index.html"


def plan(config: BatchConfig, world: WorldConfig) -> list[Job]:
    """Return all clips, in order. Raises ValueError or KeyError for what cannot be rendered, before anything is."""
    if "path" not in world.controls:
        raise ValueError(f"world {world.slug} follows no camera paths: it takes {', '.join(world.controls)}")
    if not config.seeds or any(not 0 <= seed < 2**32 for seed in config.seeds):
        raise ValueError(f"seeds must be whole numbers from 0 to 2**32 - 1, got {list(config.seeds)}")
    known = [scene.name for scene in world.scenes]
    scenes = [world.scene(name).name for name in config.scenes] or known
    model, jobs = _model_digest(world), []
    for path in _files(config.paths or (asset_folder("trajectories"),)):
        trajectory = load_trajectory(path, fps=config.path_fps)
        log_notes(trajectory, path.name)
        own = path.stem.rpartition("-")[2]
        for scene in scenes:
            if own in known and scene != own:
                continue
            jobs += [
                Job(path, trajectory, scene, seed, _digest(model, trajectory, scene, seed)) for seed in config.seeds
            ]
    return _named_apart(jobs)


def _files(paths: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        if path.is_dir() and not (path / "poses.npy").is_file():
            inside = sorted(entry for entry in path.iterdir() if entry.suffix in SUFFIXES and entry.is_file())
            inside += sorted(entry for entry in path.iterdir() if (entry / "poses.npy").is_file())
            if not inside:
                raise ValueError(f"{path}: no camera path in this folder: expected {', '.join(sorted(SUFFIXES))} files")
            files += inside
        else:
            files.append(path / "poses.npy" if path.is_dir() else path)
    return files


def _named_apart(jobs: list[Job]) -> list[Job]:
    names = [job.name for job in jobs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two paths would both become {twice[0]}: give their files different names")
    return jobs


def _model_digest(world: WorldConfig) -> str:
    """Return a digest of a model's config and of the weights that its files hold now."""
    told = str(replace(world, scenes=(), checkpoint=None))
    return hashlib.sha256(json.dumps([told, *map(checkpoint_identity, world.weights())]).encode()).hexdigest()


def _digest(model: str, trajectory: CameraPath, scene: str, seed: int) -> str:
    shaping = json.dumps([model, scene, seed, trajectory.fps])
    return hashlib.sha256(shaping.encode() + trajectory.poses.tobytes()).hexdigest()


def render_clip(world: World, job: Job, folder: Path, bar: Any) -> Clip:
    """Generate one clip into the folder; the file appears when it is whole."""
    config, constrain = world.config, world.constrain(job.scene, job.seed)
    path = job.trajectory
    if not lies_in_world(path.poses, constrain):
        path = path.starting_at(world.start_pose(job.scene, job.seed))
    poses, moved = as_taken(path, config, constrain)
    shown = set(np.linspace(0, len(poses) - 1, STRIP).round().astype(int).tolist())
    pictures, index, frames_hash = [], 0, hashlib.sha256()
    comment = f"{config.title}: {job.scene}, seed {job.seed}, along {job.path.name}"
    with Mp4File(folder / job.name, config.width, config.height, config.fps, comment) as video:
        for frames in generate_along(world, job.scene, job.seed, poses):
            video.write(frames)
            frames_hash.update(frames.tobytes())
            pictures += [frame for place, frame in enumerate(frames, index) if place in shown]
            index += len(frames)
            bar.update(len(frames))
    strip = np.concatenate(pictures, axis=1)
    return Clip.of(
        folder,
        job.name,
        job.path.name,
        job.scene,
        job.seed,
        len(poses) / config.fps,
        moved,
        strip,
        job.digest,
        frames_hash.hexdigest(),
    )


def is_done(job: Job, done: dict[str, Any], folder: Path) -> bool:
    """Return True if the clip exists and was made from the same path, scene, seed and world."""
    entry = done.get(job.name)
    return bool(entry and entry.get("digest") == job.digest and (folder / job.name).is_file())


def read_list(folder: Path) -> dict[str, Any]:
    """Return the finished jobs from batch.json. Raises ValueError for a file of another program."""
    file = folder / "batch.json"
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))["clips"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{file} is not a list of this command; choose another --output") from None
    return dict(found)


def write_list(folder: Path, done: dict[str, Any]) -> None:
    """Write batch.json, never half of it."""
    with drafted(folder / "batch.json") as draft:
        draft.write_text(json.dumps({"clips": done}, indent=1) + "\n", encoding="utf-8")


def _clips(jobs: Sequence[Job], done: dict[str, Any]) -> list[Clip]:
    return [Clip(**done[job.name]) for job in jobs if job.name in done]


if __name__ == "__main__":
    sys.exit(main())
