"""The walks that the dreamer learns from: chunk-end pictures as latents, with cameras, scenes and true distances."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from flashdreams.files import drafted
from flashdreams.integrations.pocket.codec import PatchCodec
from flashdreams.integrations.pocket.data import load_shard
from flashdreams.integrations.pocket.optics import BACKDROP
from flashdreams.integrations.pocket.place_encoder import DEPTH_SIZE
from flashdreams.integrations.pocket.renderer import Renderer
from flashdreams.integrations.pocket.scenes import places
from flashdreams.integrations.pocket.solids import Solids
from flashdreams.integrations.pocket.walk import FRAMES_PER_CHUNK, random_walks, walk_poses

VIEWS_PER_SCENE = 64
"""Pictures of every place in a file of `render_views`."""


def poses_of(walks: Tensor) -> Tensor:
    """Camera-to-world `[..., 4, 4]` of rows (x, z, yaw, pitch in degrees)."""
    rows = walks.double().numpy()
    return torch.from_numpy(walk_poses(rows[..., :2], rows[..., 2], rows[..., 3])).float()


class TrueDepth:
    """What the renderer knows of distances: the inverse depth that the place encoder is taught."""

    def __init__(self) -> None:
        height, width = DEPTH_SIZE
        self.solids = Solids(places(), width, height, supersample=1)
        _, ahead = self.solids.rays(torch.eye(4)[None])
        self.depth_per_metre = ahead[0, 2].unflatten(0, DEPTH_SIZE)

    def __call__(self, poses: Tensor, scenes: Tensor) -> Tensor:
        """Inverse depth `[T, 36, 64]` in 1/m, 1 / BACKDROP to 2, for `poses [T, 4, 4]` in `scenes [T]`."""
        return (1 / (self.solids.distance(poses, scenes) * self.depth_per_metre)).clamp(1 / BACKDROP, 2)


@torch.no_grad()
def encode_shards(codec: PatchCodec, data: Path, cache: Path) -> None:
    """Latents and true inverse depths of all `keyframes` shards that have none yet, as files in `cache`."""
    cache.mkdir(parents=True, exist_ok=True)
    targets = {path: cache / path.name.replace("keyframes", "latents") for path in sorted(data.glob("keyframes-*.npz"))}
    missing = [path for path, target in targets.items() if not target.exists()]
    if not missing:
        return
    true_depth = TrueDepth()
    for path in tqdm(missing, desc="encoding keyframes", unit="shard"):
        target, shard = targets[path], load_shard(path)
        latents = [
            codec.encode(torch.from_numpy(clip).permute(0, 3, 1, 2).float() / 255).half() for clip in shard.frames
        ]
        walks = shard.walks[:, ::FRAMES_PER_CHUNK]
        poses, scenes = poses_of(torch.from_numpy(walks)), torch.from_numpy(shard.scenes)
        depths = [true_depth(p, s).half() for p, s in zip(poses, scenes, strict=True)]
        with drafted(target) as draft, draft.open("wb") as file:
            np.savez(
                file,
                latents=torch.stack(latents).numpy(),
                depths=torch.stack(depths).numpy(),
                walks=walks,
                scenes=shard.scenes,
            )


@dataclass
class Stretches:
    """Stretches of walks: N of T chunks each."""

    latents: Tensor
    """`[N, T, L, C]`, of every chunk's last picture."""
    before: Tensor
    """`[N, T, 4, 4]`: the cameras just before the chunks."""
    poses: Tensor
    """`[N, T, 4, 4]`: the cameras at their ends."""
    scenes: Tensor
    """`[N, T]`: scene indices."""
    inverse_depth: Tensor
    """`[N, T, 36, 64]` in 1/m: the true one at their ends."""

    @classmethod
    def join(cls, *parts: Stretches) -> Stretches:
        """Those of all `parts`, equally long ones."""
        return cls(*(torch.cat(same) for same in zip(*(vars(part).values() for part in parts), strict=True)))

    def to(self, device: torch.device) -> Stretches:
        """On another device."""
        return Stretches(*(x.to(device) for x in vars(self).values()))


@torch.no_grad()
def render_views(
    codec: PatchCodec, cache: Path, shards: int, *, device: str = "cpu", compile: bool = True, first: int = 0
) -> None:
    """Draw and encode those of `shards` files `views-*.npz` in `cache` that are not there: single pictures.

    Each shows a place from somewhere else, and so tells more of it than the pictures of a walk; drawn without
    supersampling, which the latents hardly show and which costs a quarter.
    """
    cache.mkdir(parents=True, exist_ok=True)
    missing = [i for i in range(first, first + shards) if not (cache / f"views-{i:04d}.npz").exists()]
    if not missing:
        return
    all_places, true_depth = places(), TrueDepth()
    renderer = Renderer(all_places, supersample=1).to(device)
    if compile:
        renderer.compile()
    batch = 2 if device == "cpu" else 64
    for index in tqdm(missing, desc="rendering views", unit="shard"):
        rng = np.random.default_rng([2026, index, 2])
        rows = []
        for place in all_places:
            xz, yaw, pitch = random_walks(place, rng, VIEWS_PER_SCENE, 1)
            rows.append(np.concatenate([xz, yaw[..., None], pitch[..., None]], -1)[:, ::FRAMES_PER_CHUNK])
        walks = np.concatenate(rows).astype(np.float32)
        poses = poses_of(torch.from_numpy(walks))[:, 1]
        scenes = torch.arange(len(all_places)).repeat_interleave(VIEWS_PER_SCENE)
        latents, depths = [], []
        for p, s in zip(poses.split(batch), scenes.split(batch), strict=True):
            latents.append(codec.encode(renderer(p.to(device), s.to(device)).cpu()).half())
            depths.append(true_depth(p, s).half())
        with drafted(cache / f"views-{index:04d}.npz") as draft, draft.open("wb") as file:
            np.savez(
                file,
                latents=torch.cat(latents).numpy(),
                depths=torch.cat(depths).numpy(),
                walks=walks,
                scenes=scenes.numpy(),
            )


class EncodedWalks:
    """All encoded walks, in memory; the first shard is left to evaluation."""

    def __init__(self, cache: Path, seed: int) -> None:
        """Reads the files of `encode_shards`; raises ValueError when there are too few."""
        self.rng = np.random.default_rng(seed)
        paths = sorted(cache.glob("latents-*.npz"))[1:]
        if not paths:
            raise ValueError(f"{cache} needs at least 2 latents-*.npz files: render and encode walks first")
        self.latents, self.poses, self.scenes, self.depths = _read(paths)

    def __len__(self) -> int:
        return len(self.latents)

    def batch(self, count: int, chunks: int) -> Stretches:
        """Random ones. Three in ten begin at rest, as a rollout does; the others come from somewhere."""
        pick = torch.from_numpy(self.rng.integers(len(self), size=count))[:, None]
        first = torch.from_numpy(self.rng.integers(1, self.latents.shape[1] - chunks + 1, size=count))
        at = first[:, None] + torch.arange(chunks)
        poses, before = self.poses[pick, at], self.poses[pick, at - 1]
        at_rest = torch.from_numpy(self.rng.random(count) < 0.3)
        before[at_rest, 0] = poses[at_rest, 0]
        depths = self.depths[pick, at].float()
        return Stretches(self.latents[pick, at].float(), before, poses, self.scenes[pick, at], depths)


class EncodedViews:
    """All single views of `render_views`, in memory; the first shard is left to evaluation."""

    def __init__(self, cache: Path, seed: int) -> None:
        """Reads the files; raises ValueError when there are none."""
        self.rng = np.random.default_rng(seed)
        paths = sorted(cache.glob("views-*.npz"))[1:]
        if not paths:
            raise ValueError(f"{cache} needs at least 2 views-*.npz files: render views first")
        self.latents, self.poses, self.scenes, self.depths = _read(paths)

    def __len__(self) -> int:
        return len(self.latents)

    def batch(self, count: int) -> Stretches:
        """Random ones, as stretches of one chunk with somewhere to come from."""
        pick = torch.from_numpy(self.rng.integers(len(self), size=count))
        before, poses = self.poses[pick].split(1, 1)
        depths = self.depths[pick, None].float()
        return Stretches(self.latents[pick, None].float(), before, poses, self.scenes[pick, None], depths)


def _read(paths: list[Path]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Latents `[N, ..., L, C]`, poses, scenes and inverse depths of the files at `paths`, one after the other."""
    columns: dict[str, list[Tensor]] = {name: [] for name in ("latents", "walks", "scenes", "depths")}
    for path in paths:
        with np.load(path) as data:
            for name, parts in columns.items():
                parts.append(torch.from_numpy(data[name]))
    latents, walks, scenes, depths = (torch.cat(parts) for parts in columns.values())
    return latents.flatten(-2).transpose(-2, -1).contiguous(), poses_of(walks), scenes, depths
