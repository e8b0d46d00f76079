"""Second stage of the pocket world's training: the place encoder by itself. Resumes from its last checkpoint.

It learns what stands where, how far away things are, and to guess every token's latent from that. A step without the
dreamer costs a tenth of one with it, so that the maps are learnt before the dreamer sees them.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from flashdreams.integrations.pocket.codec import LATENT_CHANNELS, PatchCodec
from flashdreams.integrations.pocket.latents import EncodedWalks, Stretches
from flashdreams.integrations.pocket.place_encoder import PlaceEncoder, PlaceEncoderConfig
from flashdreams.integrations.pocket.runlog import Checkpoint, RunLog

DEPTH_WEIGHT = 2.0
"""Of the absolute error of the inverse depth in 1/m, beside the latents' squared error."""
RATE, MAP_RATE = 2e-3, 1.2e-2
"""Peak learning rates of the networks and of the maps."""


def channel_weight(codec: PatchCodec) -> Tensor:
    """`[48]`: between the pixels' own weight (scale squared) and equal weight, which would spend all on fine detail."""
    return codec.scale / codec.scale.mean()


def guess_loss(features: Tensor, latents: Tensor, weight: Tensor) -> Tensor:
    """Squared error of the guess in `features [..., F]` of `latents [..., C]`, by channel `weight [C]`."""
    return ((features[..., :LATENT_CHANNELS].float() - latents).square() * weight).mean()


def place_loss(encoder: PlaceEncoder, views: Stretches, weight: Tensor) -> Tensor:
    """What the encoder gets wrong of single `views`: the latents and the distances."""
    before, pose, scene = (x.flatten(0, 1) for x in (views.before, views.poses, views.scenes))
    features, inverse_depth = encoder.features(before, pose, scene)
    of_depth = (inverse_depth - views.inverse_depth.flatten(0, 1)).abs().mean()
    guess = features.flatten(-2).transpose(1, 2)
    return guess_loss(guess, views.latents.flatten(0, 1), weight) + DEPTH_WEIGHT * of_depth


def train_places(
    walks: EncodedWalks, codec: PatchCodec, run: Path, *, minutes: float, device: str = "cpu", views: int = 24
) -> PlaceEncoder:
    """Train for `minutes` in all, `views` pictures a step; the learning rate falls to zero at their end."""
    torch.manual_seed(3)
    encoder = PlaceEncoder(PlaceEncoderConfig())
    encoder.codec.load_state_dict(codec.state_dict())
    encoder.to(device)
    weight = channel_weight(codec).to(device)
    rest = [p for p in encoder.parameters() if p is not encoder.maps]
    groups = [{"params": rest, "peak": RATE}, {"params": [encoder.maps], "peak": MAP_RATE, "weight_decay": 0.0}]
    adam = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.98), weight_decay=0.01)
    checkpoint, log = Checkpoint(run / "places.pt"), RunLog(run / "places.csv")
    figures = checkpoint.load(places=encoder, adam=adam)
    step, spent, total = int(figures.get("step", 0)), figures.get("seconds", 0.0), minutes * 60
    running = figures.get("loss", 0.0)
    bar = tqdm(total=round(total), initial=round(spent), desc="training places", unit="s")
    last = saved = time.monotonic()
    while spent < total:
        for group in adam.param_groups:
            group["lr"] = group["peak"] * min(1.0, (step + 1) / 50) * min(1.0, 0.02 + (1 - spent / total) / 0.45)
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            loss = place_loss(encoder, walks.batch(views, 1).to(torch.device(device)), weight)
        adam.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        adam.step()
        step, now = step + 1, time.monotonic()
        spent, last = spent + min(now - last, 30.0), now
        running = loss.item() if running == 0.0 else 0.98 * running + 0.02 * loss.item()
        bar.update(round(spent) - bar.n)
        bar.set_postfix(step=step, loss=f"{running:.4f}")
        if now - saved > 120 or spent >= total:
            checkpoint.save({"step": step, "seconds": spent, "loss": running}, places=encoder, adam=adam)
            log.write(step=step, minutes=spent / 60, loss=running)
            last = saved = time.monotonic()
    return encoder
