"""Training walks rendered into shards on disk: `python -m flashdreams.integrations.pocket.training.data`.

Two kinds: `frames` holds every frame of short walks (for the decoder), `keyframes` holds the last frame of every chunk
of longer walks (for the denoiser). A shard is made from its own seed: the same whenever and wherever it is made.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from flashdreams.files import drafted
from flashdreams.integrations.pocket.renderer.render import Renderer
from flashdreams.integrations.pocket.scenes.catalog import scene_layouts
from flashdreams.integrations.pocket.scenes.movement import FRAMES_PER_CHUNK, key_path_poses, random_camera_paths

Kind = Literal["frames", "keyframes"]
CLIPS_PER_SCENE = 16
CHUNKS: dict[Kind, int] = {"frames": 2, "keyframes": 8}
SWITCH_SHARE = 0.06
"""Share of keyframe clips that change the scene on the way."""


@dataclass
class Shard:
    """Clips of one shard."""

    frames: npt.NDArray[np.uint8]
    """`[N, F, H, W, 3]`"""
    camera_paths: npt.NDArray[np.float32]
    """`[N, 1 + chunks * 4, 4]`: x, z, yaw, pitch in degrees at every frame."""
    scenes: npt.NDArray[np.int64]
    """`[N, F]` scene index of every stored frame."""


def shard_path(folder: Path, kind: Kind, index: int) -> Path:
    """Return the path of shard `index`."""
    return folder / f"{kind}-{index:04d}.npz"


def make_shard(renderer: Renderer, kind: Kind, index: int, batch: int = 2) -> Shard:
    """Render shard `index` of `kind`: the same on every machine up to rounding."""
    rng = np.random.default_rng([2026, index, list(CHUNKS).index(kind)])
    all_places, chunks = scene_layouts(), CHUNKS[kind]
    camera_paths, poses, scenes = [], [], []
    for scene, layout in enumerate(all_places):
        xz, yaw, pitch = random_camera_paths(layout, rng, CLIPS_PER_SCENE, chunks)
        camera_paths.append(np.concatenate([xz, yaw[..., None], pitch[..., None]], -1))
        step = 1 if kind == "frames" else FRAMES_PER_CHUNK
        poses.append(key_path_poses(xz[:, ::step], yaw[:, ::step], pitch[:, ::step]))
        scene_of = np.full(poses[-1].shape[:2], scene)
        if kind == "keyframes":
            for clip in np.flatnonzero(rng.random(CLIPS_PER_SCENE) < SWITCH_SHARE):
                scene_of[clip, rng.integers(2, chunks + 1) :] = rng.integers(len(all_places))
        scenes.append(scene_of)
    pose_all, scene_all = np.concatenate(poses), np.concatenate(scenes)
    flat_pose = torch.from_numpy(pose_all.reshape(-1, 4, 4)).float()
    flat_scene = torch.from_numpy(scene_all.reshape(-1))
    device = renderer.rounds.device
    images = [
        (renderer(flat_pose[i : i + batch].to(device), flat_scene[i : i + batch].to(device)) * 255 + 0.5).byte().cpu()
        for i in range(0, len(flat_pose), batch)
    ]
    frames = (
        torch.cat(images).permute(0, 2, 3, 1).numpy().reshape(*pose_all.shape[:2], renderer.height, renderer.width, 3)
    )
    return Shard(frames, np.concatenate(camera_paths).astype(np.float32), scene_all)


def save_shard(path: Path, shard: Shard) -> None:
    """Write atomically, so that a reader never sees half a shard."""
    with drafted(path) as draft, draft.open("wb") as file:
        np.savez(file, frames=shard.frames, camera_paths=shard.camera_paths, scenes=shard.scenes)


def count_clips(folder: Path, kind: Kind | Literal["views"]) -> int:
    """Clips in all shards of `kind` in `folder`; a view is a clip of one picture."""
    total = 0
    for path in folder.glob(f"{kind}-*.npz"):
        with np.load(path) as data:
            total += len(data["scenes"])
    return total


def load_shard(path: Path) -> Shard:
    """Read a shard written by `save_shard`."""
    with np.load(path) as data:
        return Shard(data["frames"], data["camera_paths"], data["scenes"])


def render_shards(
    folder: Path, kind: Kind, count: int, *, device: str = "cpu", compile: bool = True, first: int = 0
) -> None:
    """Render the shards that are not there yet."""
    missing = [i for i in range(first, first + count) if not shard_path(folder, kind, i).exists()]
    if not missing:
        return
    renderer = Renderer(scene_layouts()).to(device)
    if compile:
        renderer.compile()
    batch = 2 if device == "cpu" else 64
    for index in tqdm(missing, desc=f"rendering {kind}", unit="shard"):
        save_shard(shard_path(folder, kind, index), make_shard(renderer, kind, index, batch))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Render training walks of the pocket world.")
    parser.add_argument("--folder", type=Path, default=Path("runs/pocket/data"))
    parser.add_argument("--frames", type=int, default=36, help="shards of every frame (96 clips each)")
    parser.add_argument("--keyframes", type=int, default=96, help="shards of chunk-end frames (96 clips each)")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    render_shards(args.folder, "frames", args.frames, device=args.device)
    render_shards(args.folder, "keyframes", args.keyframes, device=args.device)


if __name__ == "__main__":
    main()
