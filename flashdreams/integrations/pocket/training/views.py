"""Single pictures of the places, each from somewhere else, which the scene encoder learns most from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from flashdreams.integrations.pocket.model.codec import PatchCodec
from flashdreams.integrations.pocket.model.optics import BACKDROP
from flashdreams.integrations.pocket.model.scene_encoder import DEPTH_SIZE
from flashdreams.integrations.pocket.renderer.intersections import Solids
from flashdreams.integrations.pocket.renderer.render import Renderer
from flashdreams.integrations.pocket.scenes.catalog import scene_layouts
from flashdreams.integrations.pocket.scenes.movement import FRAMES_PER_CHUNK, random_camera_paths
from flashdreams.integrations.pocket.training.latents import Stretches, poses_of, read_encoded, save_encoded

VIEWS_PER_SCENE = 64
"""Pictures of every place in a file."""


class TrueDepth:
    """Ground-truth distances from the renderer: inverse depth, the target of the scene encoder."""

    def __init__(self) -> None:
        height, width = DEPTH_SIZE
        self.solids = Solids(scene_layouts(), width, height, supersample=1)
        _, next_chunk = self.solids.rays(torch.eye(4)[None])
        self.depth_per_metre = next_chunk[0, 2].unflatten(0, DEPTH_SIZE)

    def __call__(self, poses: Tensor, scenes: Tensor) -> Tensor:
        """Inverse depth `[T, 36, 64]` in 1/m, 1 / BACKDROP to 2, for `poses [T, 4, 4]` in `scenes [T]`."""
        return (1 / (self.solids.distance(poses, scenes) * self.depth_per_metre)).clamp(1 / BACKDROP, 2)


@torch.no_grad()
def render_views(codec: PatchCodec, cache: Path, shards: int, *, device: str = "cpu", compile: bool = True) -> None:
    """Draw and encode those of `shards` files `views-*.npz` in `cache` that are not there.

    Drawn without supersampling, which the latents hardly show and which costs a quarter.
    """
    cache.mkdir(parents=True, exist_ok=True)
    missing = [i for i in range(shards) if not (cache / f"views-{i:04d}.npz").exists()]
    if not missing:
        return
    renderer, true_depth = Renderer(scene_layouts(), supersample=1).to(device), TrueDepth()
    if compile:
        renderer.compile()
    for index in tqdm(missing, desc="rendering views", unit="shard"):
        camera_paths, scenes = _cameras(index)
        latents, depths = [], []
        of_cameras = poses_of(torch.from_numpy(camera_paths))[:, 1]
        for pose, scene in zip(*(x.split(2 if device == "cpu" else 64) for x in (of_cameras, scenes)), strict=True):
            latents.append(codec.encode(renderer(pose.to(device), scene.to(device)).cpu()).half())
            depths.append(true_depth(pose, scene).half())
        save_encoded(
            cache / f"views-{index:04d}.npz",
            latents=torch.cat(latents).numpy(),
            depths=torch.cat(depths).numpy(),
            camera_paths=camera_paths,
            scenes=scenes.numpy(),
        )


def _cameras(index: int) -> tuple[np.ndarray, Tensor]:
    """Rows `[N, 2, 4]` (x, z, yaw, pitch) of the cameras of a file, each where it came from and where it looks, and
    their scenes `[N]`."""
    rng, rows = np.random.default_rng([2026, index, 2]), []
    for layout in scene_layouts():
        xz, yaw, pitch = random_camera_paths(layout, rng, VIEWS_PER_SCENE, 1)
        rows.append(np.concatenate([xz, yaw[..., None], pitch[..., None]], -1)[:, ::FRAMES_PER_CHUNK])
    return np.concatenate(rows).astype(np.float32), torch.arange(len(rows)).repeat_interleave(VIEWS_PER_SCENE)


class EncodedViews:
    """All views, in memory; the first file is left to evaluation."""

    def __init__(self, cache: Path, seed: int) -> None:
        """Reads the files of `render_views`; raises ValueError when there are too few."""
        self.rng = np.random.default_rng(seed)
        paths = sorted(cache.glob("views-*.npz"))[1:]
        if not paths:
            raise ValueError(f"{cache} needs at least 2 views-*.npz files: render views first")
        self.latents, self.poses, self.scenes, self.depths = read_encoded(paths, "depths")

    def __len__(self) -> int:
        return len(self.latents)

    def batch(self, count: int) -> tuple[Stretches, Tensor]:
        """Random ones, as stretches of one chunk with somewhere to come from; their inverse depths `[N, 36, 64]`."""
        pick = torch.from_numpy(self.rng.integers(len(self), size=count))
        before, poses = self.poses[pick].split(1, 1)
        seen = Stretches(self.latents[pick, None].float(), before, poses, self.scenes[pick, None])
        return seen, self.depths[pick].float()
