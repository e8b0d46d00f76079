"""First stage of the pocket world's training: the autoencoder. Resumes from its last checkpoint."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from flashdreams.integrations.pocket.autoencoder import Autoencoder, psnr, reconstruction_loss
from flashdreams.integrations.pocket.data import load_shard
from flashdreams.integrations.pocket.runlog import Checkpoint, RunLog

LATENT_NOISE = 0.08
CLIPS, CROP = 12, (80, 128)


class FrameClips:
    """All clips of the `frames` shards in a folder; finds shards that appear later."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.rng = folder, np.random.default_rng(seed)
        self.seen: set[Path] = set()
        self.clips: list[np.ndarray] = []
        self.held_out: list[np.ndarray] = []
        self.refresh()

    def refresh(self) -> None:
        """Read new shards; the first shard is kept for evaluation."""
        for path in sorted(self.folder.glob("frames-*.npz")):
            if path not in self.seen:
                self.seen.add(path)
                (self.held_out if path.stem.endswith("0000") else self.clips).extend(load_shard(path).frames)

    def batch(self, clips: int, crop: tuple[int, int]) -> Tensor:
        """Random crops `[B, 9, 3, h, w]` in [0, 1]."""
        pick, out = self.rng.integers(len(self.clips), size=clips), []
        for i in pick:
            y = 16 * self.rng.integers((144 - crop[0]) // 16 + 1)
            x = 16 * self.rng.integers((256 - crop[1]) // 16 + 1)
            out.append(self.clips[i][:, y : y + crop[0], x : x + crop[1]])
        return torch.from_numpy(np.stack(out)).permute(0, 1, 4, 2, 3).float() / 255


@torch.no_grad()
def evaluate(model: Autoencoder, clips: list[np.ndarray], device: torch.device) -> float:
    """Mean PSNR in dB over whole pictures of unseen clips."""
    values = []
    for clip in clips[:: max(1, len(clips) // 16)]:
        true = torch.from_numpy(clip).to(device).permute(0, 3, 1, 2).float()[None] / 255
        with torch.autocast(device.type, torch.bfloat16):
            seen = model.decode(model.encode(true[:, ::4]))
        values.append(psnr(seen, true).mean())
    return float(torch.stack(values).mean())


def train_autoencoder(data: Path, run: Path, *, minutes: float, device: str, peak_rate: float = 8e-4, total: int = 3000,
                      freeze_encoder: bool = False) -> None:
    """Train for `minutes` (or until `total` steps), checkpointing every few minutes into `run`."""
    place = torch.device(device)
    torch.manual_seed(0)
    model = Autoencoder().to(place, memory_format=torch.channels_last)
    model.encoder.requires_grad_(not freeze_encoder)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=peak_rate, betas=(0.9, 0.98), weight_decay=0.01)
    name = "decoder" if freeze_encoder else "autoencoder"
    checkpoint, log = Checkpoint(run / f"{name}.pt"), RunLog(run / f"{name}.csv")
    step = checkpoint.load(model, optimizer)
    clips = FrameClips(data, seed=step)
    deadline, saved = time.monotonic() + 60 * minutes, time.monotonic()
    bar = tqdm(total=total, initial=step, desc=f"training {name}", unit="step")
    while step < total and time.monotonic() < deadline:
        for group in optimizer.param_groups:
            group["lr"] = peak_rate * min(1, (step + 1) / 60) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / total)))
        true = clips.batch(CLIPS, CROP).to(place)
        with torch.autocast(place.type, torch.bfloat16):
            latents = model.encode(true[:, ::4])
            noisy = latents + LATENT_NOISE * torch.randn_like(latents)
            seen = model.decode(noisy)
        loss = reconstruction_loss(seen.float(), true) + 1e-4 * latents.float().square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        step += 1
        bar.update()
        if step % 20 == 0:
            bar.set_postfix(loss=f"{loss.item():.4f}", psnr=f"{psnr(seen, true).mean().item():.2f}")
        if time.monotonic() - saved > 150 or step == total:
            clips.refresh()
            saved = time.monotonic()
            log.write(step=step, loss=loss.item(), psnr=evaluate(model, clips.held_out, place))
            checkpoint.save(model, optimizer, step)
    checkpoint.save(model, optimizer, step)
    log.write(step=step, loss=loss.item(), psnr=evaluate(model, clips.held_out, place))
