"""Last stage of the pocket world's training: the decoder's two small networks. Resumes from its last checkpoint.

What they are shown are mostly latents as the denoiser makes them, and what is wanted are the renderer's pictures: so
they learn to mend the denoiser's own faults, the edges of its tokens first. Frames between are redrawn, not learnt.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from flashdreams.integrations.pocket.model.codec import PatchCodec, psnr
from flashdreams.integrations.pocket.model.decoder import End, PocketDecoder, PocketDecoderConfig, local_mean
from flashdreams.integrations.pocket.model.scene_encoder import SceneEncoder
from flashdreams.integrations.pocket.scenes.movement import FRAMES_PER_CHUNK
from flashdreams.integrations.pocket.training.data import load_shard
from flashdreams.integrations.pocket.training.latents import poses_of
from flashdreams.integrations.pocket.training.run import mixed_precision
from flashdreams.integrations.pocket.training.run_log import Checkpoint, RunLog
from flashdreams.integrations.pocket.training.train_denoiser import DenoiserTrainer
from flashdreams.integrations.pocket.training.training_clips import cameras_before, with_carried

DREAMED_SHARE = 0.7
"""Share of the steps whose latents are dreamed; in the others they are the true ones, with noise."""
MAX_LATENT_NOISE = 0.15
"""Largest standard deviation of that noise."""
CARRIED_SHARE = 0.8
"""Share of the dreamed chunks that are told the picture before them, see `clips.carried_features`."""

FAINT = 0.01
"""Difference of neighbouring pixels, of 1, below which the eye takes a surface for even."""


class FrameClips:
    """All clips of the `frames` shards: pictures `[N, 9, H, W, 3]`, cameras `[N, 9, 4, 4]` and scenes `[N]`."""

    def __init__(self, folder: Path, seed: int) -> None:
        shards = [load_shard(path) for path in sorted(folder.glob("frames-*.npz"))]
        if len(shards) < 2:
            raise ValueError(f"{folder} needs at least 2 frames-*.npz shards, it has {len(shards)}: render them first")
        self.frames = np.concatenate([s.frames for s in shards])
        self.poses = poses_of(torch.from_numpy(np.concatenate([s.camera_paths for s in shards])))
        self.scenes = torch.from_numpy(np.concatenate([s.scenes[:, 0] for s in shards]))
        self.held_out = len(shards[0].frames)
        self.rng = np.random.default_rng(seed)

    def batch(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Random training clips, pictures in [0, 1]."""
        return self._take(self.rng.integers(self.held_out, len(self.frames), size=count))

    def evaluation(self) -> tuple[Tensor, Tensor, Tensor]:
        """Up to 16 clips of the first shard, never trained on."""
        return self._take(np.linspace(0, self.held_out - 1, min(16, self.held_out)).astype(int))

    def _take(self, pick: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        frames = torch.from_numpy(self.frames[pick]).permute(0, 1, 4, 2, 3).float() / 255
        return frames, self.poses[pick], self.scenes[pick]


def latents_of(decoder: PocketDecoder, frames: Tensor) -> Tensor:
    """Latents `[B, 1 + n, 48, 9, 16]` of the chunk-end frames of clips `[B, 1 + 4 n, 3, H, W]`."""
    ends = frames[:, ::FRAMES_PER_CHUNK]
    return decoder.codec.encode(ends.flatten(0, 1)).unflatten(0, ends.shape[:2])


@torch.no_grad()
def generated(denoiser: DenoiserTrainer, latents: Tensor, poses: Tensor, scenes: Tensor) -> Tensor:
    """Return the predictions of `denoiser` for true latents `[B, T, 48, 9, 16]` and poses `[B, 1 + 4 (T - 1), 4, 4]`.

    All begin as noise; some are told the true picture before them.
    """
    ends = poses[:, ::FRAMES_PER_CHUNK]
    before = cameras_before(ends)
    tokens, everywhere = latents.flatten(-2).transpose(-2, -1), scenes[:, None].expand(ends.shape[:2])
    scene_encoder, inverse_depth = denoiser.features(before, ends, everywhere)
    given = torch.rand(ends.shape[:2], device=latents.device) < CARRIED_SHARE
    features = with_carried(denoiser.scene_encoder, scene_encoder, tokens, before, ends, inverse_depth, given)
    level = torch.ones(ends.shape[:2], device=latents.device)
    clean = denoiser(torch.randn_like(tokens), level, features, everywhere)
    return clean.float().transpose(-2, -1).unflatten(-1, latents.shape[-2:])


def decode_clip(
    decoder: PocketDecoder, scene_encoder: SceneEncoder, latents: Tensor, poses: Tensor, scenes: Tensor
) -> Tensor:
    """Clips `[B, 1 + 4 n, 3, H, W]` from the latents `[B, 1 + n, 48, 9, 16]` of their chunk-end frames.

    How far away things are is what `scene_encoder` sees at `poses [B, 1 + 4 n, 4, 4]` in `scenes [B]`.
    """
    keys = decoder.key_frame(latents.flatten(0, 1)).unflatten(0, latents.shape[:2])
    at = poses[:, ::FRAMES_PER_CHUNK]
    seen = scene_encoder.sight(at.flatten(0, 1), scenes.repeat_interleave(at.shape[1])).unflatten(0, at.shape[:2])
    out = [keys[:, :1]]
    for i in range(1, latents.shape[1]):
        first, last = (End(keys[:, j], at[:, j], seen[:, j]) for j in (i - 1, i))
        between = poses[:, (i - 1) * FRAMES_PER_CHUNK + 1 : i * FRAMES_PER_CHUNK]
        out += [decoder.frames_between(first, last, between), keys[:, i : i + 1]]
    return torch.cat(out, 1)


def reconstruction_loss(predicted: Tensor, true: Tensor) -> Tensor:
    """Absolute error of pixels and of their differences to the neighbours (edges weigh more), plus squared error.

    Small differences weigh more still where the truth is even: seams between tokens are faint, and seen at once.
    Pictures are `[..., 3, H, W]`.
    """
    loss = F.l1_loss(predicted, true) + 4 * F.mse_loss(predicted, true)
    for axis in (-1, -2):
        slope, wanted = predicted.diff(dim=axis), true.diff(dim=axis)
        loss = loss + F.l1_loss(slope, wanted) + 2 * _unevenness(slope, wanted)
    return loss


def _unevenness(slope: Tensor, wanted: Tensor) -> Tensor:
    """Errors of differences to the neighbours, those among small ones weigh most, and misplaced edges little."""
    around = wanted.abs().mean(-3, keepdim=True).flatten(0, -4)
    around = local_mean(around).unflatten(0, wanted.shape[:-3])
    error = (slope - wanted).abs()
    return (FAINT / (FAINT + around) * error / (1 + error / FAINT)).mean()


@torch.no_grad()
def decoder_psnr(decoder: PocketDecoder, denoiser: DenoiserTrainer, clips: FrameClips) -> dict[str, float]:
    """PSNR in dB on unseen clips: of chunk-end frames and those between, from true latents and from dreamed ones."""
    frames, poses, scenes = clips.evaluation()
    true = latents_of(decoder, frames)
    found: dict[str, float] = {}
    for source, latents in (("true", true), ("dreamed", generated(denoiser, true, poses, scenes))):
        clips_of = zip(latents.split(1), poses.split(1), scenes.split(1), strict=True)
        seen = [decode_clip(decoder, denoiser.scene_encoder, *clip) for clip in clips_of]
        values = psnr(torch.cat(seen), frames)
        ends = torch.arange(values.shape[1]) % FRAMES_PER_CHUNK == 0
        found |= {f"{source}_ends": values[:, ends].mean().item(), f"{source}_between": values[:, ~ends].mean().item()}
    return found


def train_decoder(
    data: Path,
    codec: PatchCodec,
    denoiser: DenoiserTrainer,
    run: Path,
    *,
    minutes: float,
    device: str = "cpu",
    clips: int = 2,
) -> PocketDecoder:
    """Train for `minutes` in all; the learning rate falls to zero at their end."""
    torch.manual_seed(2)
    decoder = PocketDecoder(PocketDecoderConfig(dtype=torch.float32))
    decoder.codec.load_state_dict(codec.state_dict())
    decoder.to(device), denoiser.to(device)
    frames = FrameClips(data, seed=int(time.time()))
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.0)
    checkpoint, log = Checkpoint(run / "decoder.pt"), RunLog(run / "decoder.csv")
    figures = checkpoint.load(decoder=decoder, optimizer=optimizer)
    step, spent = int(figures.get("step", 0)), figures.get("seconds", 0.0)
    bar = tqdm(total=round(minutes * 60), initial=round(spent), desc="training decoder", unit="s")
    last = saved = time.monotonic()
    while spent < minutes * 60:
        done = spent / (minutes * 60)
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * min(1.0, (step + 1) / 50) * min(1.0, 0.01 + (1 - done) / 0.6)
        true, poses, scenes = (x.to(device) for x in frames.batch(clips))
        latents = latents_of(decoder, true)
        if torch.rand(()) < DREAMED_SHARE:
            latents = generated(denoiser, latents, poses, scenes)
        else:
            latents = latents + MAX_LATENT_NOISE * float(torch.rand(())) * torch.randn_like(latents)
        with mixed_precision(device):
            seen = decoder.key_frame(latents.flatten(0, 1))
        loss = reconstruction_loss(seen.float(), true[:, ::FRAMES_PER_CHUNK].flatten(0, 1))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimizer.step()
        step, now = step + 1, time.monotonic()
        spent, last = spent + now - last, now
        bar.update(round(spent) - bar.n)
        bar.set_postfix(step=step, loss=f"{loss.item():.4f}")
        if now - saved > 120 or spent >= minutes * 60:
            log.write(step=step, loss=loss.item(), **decoder_psnr(decoder, denoiser, frames))
            checkpoint.save({"step": step, "seconds": spent}, decoder=decoder, optimizer=optimizer)
            last = saved = time.monotonic()
    return decoder
