"""The walks that the denoiser learns from: chunk-end pictures as latents, with cameras and scenes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from flashdreams.files import drafted
from flashdreams.integrations.pocket.model.codec import PatchCodec
from flashdreams.integrations.pocket.scenes.movement import FRAMES_PER_CHUNK, key_path_poses
from flashdreams.integrations.pocket.training.data import load_shard


def poses_of(camera_paths: Tensor) -> Tensor:
    """Camera-to-world `[..., 4, 4]` of rows (x, z, yaw, pitch in degrees)."""
    rows = camera_paths.double().numpy()
    return torch.from_numpy(key_path_poses(rows[..., :2], rows[..., 2], rows[..., 3])).float()


@torch.no_grad()
def encode_shards(codec: PatchCodec, data: Path, cache: Path) -> None:
    """Latents of all `keyframes` shards that have none yet, as files in `cache`."""
    cache.mkdir(parents=True, exist_ok=True)
    targets = {path: cache / path.name.replace("keyframes", "latents") for path in sorted(data.glob("keyframes-*.npz"))}
    missing = [path for path, target in targets.items() if not target.exists()]
    for path in tqdm(missing, desc="encoding keyframes", unit="shard"):
        target, shard = targets[path], load_shard(path)
        latents = [
            codec.encode(torch.from_numpy(clip).permute(0, 3, 1, 2).float() / 255).half() for clip in shard.frames
        ]
        camera_paths = shard.camera_paths[:, ::FRAMES_PER_CHUNK]
        save_encoded(target, latents=torch.stack(latents).numpy(), camera_paths=camera_paths, scenes=shard.scenes)


def save_encoded(path: Path, **columns: np.ndarray) -> None:
    """Write what `read_encoded` reads: at least `latents`, `camera_paths` and `scenes`."""
    with drafted(path) as draft, draft.open("wb") as file:
        np.savez(file, **columns)  # type: ignore[arg-type]


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

    @classmethod
    def join(cls, *parts: Stretches) -> Stretches:
        """Return the latents of all `parts`, equally long ones."""
        return cls(*(torch.cat(same) for same in zip(*(vars(part).values() for part in parts), strict=True)))

    def to(self, device: torch.device) -> Stretches:
        """On another device."""
        return Stretches(*(x.to(device) for x in vars(self).values()))


class EncodedClips:
    """All encoded walks, in memory; the first shard is left to evaluation."""

    def __init__(self, cache: Path, seed: int) -> None:
        """Reads the files of `encode_shards`; raises ValueError when there are too few."""
        self.rng = np.random.default_rng(seed)
        paths = sorted(cache.glob("latents-*.npz"))[1:]
        if not paths:
            raise ValueError(f"{cache} needs at least 2 latents-*.npz files: render and encode walks first")
        self.latents, self.poses, self.scenes = read_encoded(paths)

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
        return Stretches(self.latents[pick, at].float(), before, poses, self.scenes[pick, at])


def read_encoded(paths: list[Path], *more: str) -> tuple[Tensor, ...]:
    """Latents `[N, ..., L, C]`, poses, scenes and `more` columns of the files at `paths`, one after the other."""
    columns: dict[str, list[Tensor]] = {name: [] for name in ("latents", "camera_paths", "scenes", *more)}
    for path in paths:
        with np.load(path) as data:
            for name, parts in columns.items():
                parts.append(torch.from_numpy(data[name]))
    latents, camera_paths, *others = (torch.cat(parts) for parts in columns.values())
    return latents.flatten(-2).transpose(-2, -1).contiguous(), poses_of(camera_paths), *others
