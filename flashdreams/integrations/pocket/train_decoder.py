"""Third stage of the pocket world's training: the decoder's two small networks. Resumes from its last checkpoint."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from flashdreams.integrations.pocket.codec import PatchCodec, psnr
from flashdreams.integrations.pocket.data import load_shard
from flashdreams.integrations.pocket.decoder import PocketDecoder, PocketDecoderConfig
from flashdreams.integrations.pocket.latents import poses_of
from flashdreams.integrations.pocket.runlog import Checkpoint, RunLog
from flashdreams.integrations.pocket.walk import FRAMES_PER_CHUNK

MAX_LATENT_NOISE = 0.15
"""Dreamed latents are never exact: the decoder is trained on latents with noise of up to this standard deviation."""


class FrameClips:
    """All clips of the `frames` shards: pictures `[N, 9, H, W, 3]` and cameras `[N, 9, 4, 4]`."""

    def __init__(self, folder: Path, seed: int) -> None:
        shards = [load_shard(path) for path in sorted(folder.glob("frames-*.npz"))]
        if len(shards) < 2:
            raise ValueError(f"{folder} needs at least 2 frames-*.npz shards, it has {len(shards)}: render them first")
        self.frames = np.concatenate([s.frames for s in shards])
        self.poses = poses_of(torch.from_numpy(np.concatenate([s.walks for s in shards])))
        self.held_out = len(shards[0].frames)
        self.rng = np.random.default_rng(seed)

    def batch(self, count: int) -> tuple[Tensor, Tensor]:
        """Random training clips, pictures in [0, 1]."""
        return self._take(self.rng.integers(self.held_out, len(self.frames), size=count))

    def evaluation(self) -> tuple[Tensor, Tensor]:
        """16 clips of the first shard, never trained on."""
        return self._take(np.arange(0, self.held_out, self.held_out // 16))

    def _take(self, pick: np.ndarray) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(self.frames[pick]).permute(0, 1, 4, 2, 3).float() / 255, self.poses[pick]


def decode_clip(decoder: PocketDecoder, frames: Tensor, poses: Tensor, noise: Tensor | float = 0.0) -> Tensor:
    """A clip `[B, 1 + 4 n, 3, H, W]` through code and decoder, from its chunk-end frames alone."""
    ends = frames[:, ::FRAMES_PER_CHUNK]
    latents = decoder.codec.encode(ends.flatten(0, 1))
    keys = decoder.key_picture(latents + noise * torch.randn_like(latents)).unflatten(0, ends.shape[:2])
    out = [keys[:, :1]]
    for i in range(1, ends.shape[1]):
        at = slice((i - 1) * FRAMES_PER_CHUNK + 1, i * FRAMES_PER_CHUNK + 1)
        first_pose = poses[:, (i - 1) * FRAMES_PER_CHUNK]
        out += [decoder.frames_between(keys[:, i - 1], keys[:, i], first_pose, poses[:, at]), keys[:, i : i + 1]]
    return torch.cat(out, 1)


def reconstruction_loss(predicted: Tensor, true: Tensor) -> Tensor:
    """Absolute error of pixels and of their differences to the neighbours (edges weigh more), plus squared error."""
    loss = F.l1_loss(predicted, true) + 4 * F.mse_loss(predicted, true)
    for axis in (-1, -2):
        loss = loss + F.l1_loss(predicted.diff(dim=axis), true.diff(dim=axis))
    return loss


@torch.no_grad()
def decoder_psnr(decoder: PocketDecoder, clips: FrameClips) -> dict[str, float]:
    """PSNR in dB on unseen clips without latent noise, of chunk-end frames and of those between."""
    values = torch.cat(
        [
            psnr(decode_clip(decoder, frames[None], poses[None]), frames[None])
            for frames, poses in zip(*clips.evaluation(), strict=True)
        ]
    )
    ends = torch.arange(values.shape[1]) % FRAMES_PER_CHUNK == 0
    return {
        "psnr": values.mean().item(),
        "ends": values[:, ends].mean().item(),
        "between": values[:, ~ends].mean().item(),
    }


def train_decoder(
    data: Path, codec: PatchCodec, run: Path, *, minutes: float, device: str = "cpu", clips: int = 2
) -> PocketDecoder:
    """Train for `minutes` in all; the learning rate falls to zero at their end."""
    torch.manual_seed(2)
    decoder = PocketDecoder(PocketDecoderConfig(dtype=torch.float32))
    decoder.codec.load_state_dict(codec.state_dict())
    decoder.to(device)
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
        true, poses = (x.to(device) for x in frames.batch(clips))
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            seen = decode_clip(decoder, true, poses, MAX_LATENT_NOISE * float(torch.rand(())))
        loss = reconstruction_loss(seen.float(), true)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimizer.step()
        step, now = step + 1, time.monotonic()
        spent, last = spent + now - last, now
        bar.update(round(spent) - bar.n)
        bar.set_postfix(step=step, loss=f"{loss.item():.4f}")
        if now - saved > 120 or spent >= minutes * 60:
            log.write(step=step, loss=loss.item(), **decoder_psnr(decoder, frames))
            checkpoint.save({"step": step, "seconds": spent}, decoder=decoder, optimizer=optimizer)
            last = saved = time.monotonic()
    return decoder
