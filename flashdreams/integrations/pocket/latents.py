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
from flashdreams.integrations.pocket.scenes import places
from flashdreams.integrations.pocket.solids import Solids
from flashdreams.integrations.pocket.walk import FRAMES_PER_CHUNK, walk_poses


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
        save_encoded(target, torch.stack(latents), torch.stack(depths), walks, shard.scenes)


def save_encoded(path: Path, latents: Tensor, depths: Tensor, walks: np.ndarray, scenes: np.ndarray) -> None:
    """Write what `read_encoded` reads."""
    with drafted(path) as draft, draft.open("wb") as file:
        np.savez(file, latents=latents.numpy(), depths=depths.numpy(), walks=walks, scenes=scenes)


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


class EncodedWalks:
    """All encoded walks, in memory; the first shard is left to evaluation."""

    def __init__(self, cache: Path, seed: int) -> None:
        """Reads the files of `encode_shards`; raises ValueError when there are too few."""
        self.rng = np.random.default_rng(seed)
        paths = sorted(cache.glob("latents-*.npz"))[1:]
        if not paths:
            raise ValueError(f"{cache} needs at least 2 latents-*.npz files: render and encode walks first")
        self.latents, self.poses, self.scenes, self.depths = read_encoded(paths)

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


def read_encoded(paths: list[Path]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Latents `[N, ..., L, C]`, poses, scenes and inverse depths of the files at `paths`, one after the other."""
    columns: dict[str, list[Tensor]] = {name: [] for name in ("latents", "walks", "scenes", "depths")}
    for path in paths:
        with np.load(path) as data:
            for name, parts in columns.items():
                parts.append(torch.from_numpy(data[name]))
    latents, walks, scenes, depths = (torch.cat(parts) for parts in columns.values())
    return latents.flatten(-2).transpose(-2, -1).contiguous(), poses_of(walks), scenes, depths
