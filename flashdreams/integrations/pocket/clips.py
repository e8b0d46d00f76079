"""Whole clips through the dreamer at once, for training: causal attention over chunks without a KV cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.core.attention import RopeTable, apply_rope_freqs, rope_table
from flashdreams.integrations.pocket.codec import LATENT_CHANNELS, LATENT_SIZE, PatchCodec
from flashdreams.integrations.pocket.data import load_shard
from flashdreams.integrations.pocket.place_encoder import PlaceEncoder
from flashdreams.integrations.pocket.transformer import TIMESTEPS, TOKENS, PocketTransformer, network_input
from flashdreams.integrations.pocket.walk import EYE_HEIGHT, FRAMES_PER_CHUNK
from flashdreams.recipes.wan.layers import CrossKV


class ClipMemory:
    """Self-attention of all chunks of a clip `[N, T, L, H, D]`: each to itself and the `window - 1` chunks before."""

    def __init__(self, rope: RopeTable, window: int) -> None:
        self.rope, self.window = rope, window

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        chunks, tokens = q.shape[1:3]
        q, k = (apply_rope_freqs(x.flatten(1, 2), self.rope).transpose(1, 2) for x in (q, k))
        v = v.flatten(1, 2).transpose(1, 2)
        q = q * q.shape[-1] ** -0.5
        rows = []
        for t in range(chunks):  # chunk by chunk: half of a masked square would be wasted
            past = slice(max(0, t - self.window + 1) * tokens, (t + 1) * tokens)
            scores = q[:, :, t * tokens : (t + 1) * tokens] @ k[:, :, past].transpose(-2, -1)
            rows.append(scores.softmax(-1) @ v[:, :, past])
        return torch.stack(rows, 1).transpose(2, 3)


def predict_clean(dreamer: PocketTransformer, noisy: Tensor, level: Tensor, place: Tensor, scene: Tensor) -> Tensor:
    """Clean latents `[N, T, L, C]` from noisy ones at noise levels `level [N, T]` in 0..1.

    `place [N, T, L, F]` are the encoder's features, `scene [N, T]` the scene of every chunk.
    """
    network, chunks = dreamer.network, noisy.shape[1]
    rope = rope_table(dreamer.rope.at_times(torch.arange(chunks))).pairs.to(noisy.device)
    memory = ClipMemory(RopeTable(rope), dreamer.config.window_chunks)
    every_scene = network.cross_keys_values(dreamer.scene_tokens)
    cross = [CrossKV(kv.k[scene], kv.v[scene]) for kv in every_scene]
    x = network_input(noisy, level[..., None, None], place)
    return network.run_blocks(x, (level * TIMESTEPS).unsqueeze(-1), [memory] * len(cross), cross)


def place_features(encoder: PlaceEncoder, before: Tensor, poses: Tensor, scene: Tensor) -> Tensor:
    """Features `[N, T, L, F]` for cameras `poses [N, T, 4, 4]` at the ends of chunks, `before` at their beginnings."""
    features = encoder.features(before.flatten(0, 1), poses.flatten(0, 1), scene.flatten())
    return features.flatten(-2).transpose(1, 2).unflatten(0, scene.shape)


@torch.no_grad()
def carried_features(encoder: PlaceEncoder, latents: Tensor, before: Tensor, poses: Tensor, given: Tensor) -> Tensor:
    """What every chunk is told of the picture of the chunk before it: `[N, T, L, 49]` from latents `[N, T, L, C]`.

    Nothing (zeros) at the first chunk and where `given [N, T]` is false.
    """
    shape = (len(latents), latents.shape[1] - 1)
    codes = latents[:, :-1].flatten(0, 1).transpose(1, 2).unflatten(-1, LATENT_SIZE)
    shown = encoder.codec.decode(codes.float())
    carried = encoder.carried(shown, before[:, 1:].flatten(0, 1), poses[:, 1:].flatten(0, 1))
    carried = F.pad(carried.flatten(-2).transpose(1, 2).unflatten(0, shape), (0, 0, 0, 0, 1, 0))
    return carried * given[..., None, None]


def poses_of(walks: Tensor) -> Tensor:
    """Camera-to-world `[..., 4, 4]` of rows (x, z, yaw, pitch in degrees)."""
    x, z, yaw, pitch = walks.unbind(-1)
    cy, sy, cp, sp = yaw.deg2rad().cos(), yaw.deg2rad().sin(), pitch.deg2rad().cos(), pitch.deg2rad().sin()
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    rows = [cy, sy * sp, sy * cp, x, zero, cp, -sp, -EYE_HEIGHT * one, -sy, cy * sp, cy * cp, z, zero, zero, zero, one]
    return torch.stack(rows, -1).unflatten(-1, (4, 4))


@torch.no_grad()
def encode_shards(codec: PatchCodec, data: Path, cache: Path) -> None:
    """Latents of all `keyframes` shards that have none yet, as files in `cache`."""
    cache.mkdir(parents=True, exist_ok=True)
    for path in sorted(data.glob("keyframes-*.npz")):
        target = cache / path.name.replace("keyframes", "latents")
        if target.exists():
            continue
        shard = load_shard(path)
        latents = [
            codec.encode(torch.from_numpy(clip).permute(0, 3, 1, 2).float() / 255).half() for clip in shard.frames
        ]
        part = target.with_suffix(".part")
        with part.open("wb") as file:
            np.savez(
                file,
                latents=torch.stack(latents).numpy(),
                walks=shard.walks[:, ::FRAMES_PER_CHUNK],
                scenes=shard.scenes,
            )
        part.replace(target)


class LatentClips:
    """All encoded clips in memory: latents as tokens, poses, scenes."""

    def __init__(self, cache: Path, seed: int) -> None:
        self.cache, self.rng = cache, np.random.default_rng(seed)
        self.seen: set[Path] = set()
        self.latents = torch.empty(0, 0, TOKENS, LATENT_CHANNELS, dtype=torch.half)
        self.poses, self.scenes = torch.empty(0), torch.empty(0)
        self.refresh()

    def refresh(self) -> None:
        """Read files that came since the last time; the first shard is left to evaluation."""
        new = [
            p for p in sorted(self.cache.glob("latents-*.npz")) if p not in self.seen and not p.stem.endswith("0000")
        ]
        for path in new:
            self.seen.add(path)
            with np.load(path) as data:
                tokens = torch.from_numpy(data["latents"]).flatten(-2).transpose(-2, -1).contiguous()
                poses, scenes = poses_of(torch.from_numpy(data["walks"])), torch.from_numpy(data["scenes"])
            old = len(self.latents) > 0
            self.latents = torch.cat([self.latents, tokens]) if old else tokens
            self.poses = torch.cat([self.poses, poses]) if old else poses
            self.scenes = torch.cat([self.scenes, scenes]) if old else scenes

    def __len__(self) -> int:
        return len(self.latents)

    def batch(self, clips: int, chunks: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Random stretches: latents `[N, T, L, C]`, cameras before and at the end of each chunk, scenes `[N, T]`.

        Three in ten begin at rest, as a rollout does; the others come from somewhere.
        """
        pick = torch.from_numpy(self.rng.integers(len(self), size=clips))[:, None]
        first = torch.from_numpy(self.rng.integers(1, self.latents.shape[1] - chunks + 1, size=clips))
        at = first[:, None] + torch.arange(chunks)
        poses, before = self.poses[pick, at], self.poses[pick, at - 1]
        at_rest = torch.from_numpy(self.rng.random(clips) < 0.3)
        before[at_rest, 0] = poses[at_rest, 0]
        return self.latents[pick, at].float(), before, poses, self.scenes[pick, at]
