"""Second stage of the pocket world's training: the scene encoder by itself. Resumes from its last checkpoint.

It learns what stands where, how far away things are, and to guess every token's latent from that. A step without the
denoiser costs a tenth of one with it, so that the maps are learnt before the denoiser sees them.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from flashdreams.integrations.pocket.model.codec import LATENT_CHANNELS, PatchCodec
from flashdreams.integrations.pocket.model.scene_encoder import GRIDS, SceneEncoder, SceneEncoderConfig
from flashdreams.integrations.pocket.training.latents import EncodedClips, Stretches
from flashdreams.integrations.pocket.training.run import mixed_precision
from flashdreams.integrations.pocket.training.run_log import Checkpoint, RunLog
from flashdreams.integrations.pocket.training.views import EncodedViews

DISTANCE_WEIGHT = 0.2
"""Of the distances' likelihood in nats a ray, beside the latents' squared error."""
DISTANCE_EVERY = 2
"""Single views whose distances are learnt from: one in so many. Distances are learnt far sooner than pictures."""
RATE, GRID_RATE = 2e-3, 1.2e-2
"""Peak learning rates of the networks and of the grids."""


def channel_weight(codec: PatchCodec) -> Tensor:
    """`[48]`: between the pixels' own weight (scale squared) and equal weight, which would spend all on fine detail."""
    return codec.scale / codec.scale.mean()


def guess_loss(features: Tensor, latents: Tensor, weight: Tensor) -> Tensor:
    """Squared error of the guess in `features [..., F]` of `latents [..., C]`, by channel `weight [C]`."""
    return ((features[..., :LATENT_CHANNELS].float() - latents).square() * weight).mean()


def scene_encoder_loss(
    encoder: SceneEncoder, camera_paths: Stretches, views: Stretches, inverse_depth: Tensor, weight: Tensor
) -> Tensor:
    """Return the encoder's loss: error of all latents, and of the `inverse_depth [N, 36, 64]` in 1/m of some `views`.

    Walks that change the place on their way may stand inside things, which would teach wrong distances.
    """
    seen = Stretches.join(camera_paths, views)
    before, pose, scene = (x.flatten(0, 1) for x in (seen.before, seen.poses, seen.scenes))
    features, _ = encoder.features(before, pose, scene)
    guess = features.flatten(-2).transpose(1, 2)
    some = (x[::DISTANCE_EVERY] for x in (views.poses[:, 0], views.scenes[:, 0], inverse_depth))
    of_distance = encoder.distance_loss(*some)
    return guess_loss(guess, seen.latents.flatten(0, 1), weight) + DISTANCE_WEIGHT * of_distance


def train_scene_encoder(
    camera_paths: EncodedClips,
    views: EncodedViews,
    codec: PatchCodec,
    run: Path,
    *,
    minutes: float,
    device: str = "cpu",
    images: int = 24,
) -> SceneEncoder:
    """Train for `minutes` in all; the learning rate falls to zero at their end.

    Half of the `images` of a step come from walks, half are single views.
    """
    torch.manual_seed(3)
    encoder = SceneEncoder(SceneEncoderConfig())
    encoder.codec.load_state_dict(codec.state_dict())
    encoder.to(device)
    weight = channel_weight(codec).to(device)
    grids = [p for name, p in encoder.named_parameters() if name in GRIDS]
    rest = [p for name, p in encoder.named_parameters() if name not in GRIDS]
    groups = [{"params": rest, "peak": RATE}, {"params": grids, "peak": GRID_RATE, "weight_decay": 0.0}]
    adam = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    checkpoint, log = Checkpoint(run / "scene_encoder.pt"), RunLog(run / "scene_encoder.csv")
    figures = checkpoint.load(scene_layouts=encoder, adam=adam)
    step, spent, total = int(figures.get("step", 0)), figures.get("seconds", 0.0), minutes * 60
    running = figures.get("loss", 0.0)
    single, where = images // 2, torch.device(device)
    bar = tqdm(total=round(total), initial=round(spent), desc="training places", unit="s")
    last = saved = time.monotonic()
    while spent < total:
        for group in adam.param_groups:
            group["lr"] = group["peak"] * min(1.0, (step + 1) / 50) * min(1.0, 0.02 + (1 - spent / total) / 0.45)
        with mixed_precision(where):
            on_walks, (alone, depths) = camera_paths.batch(images - single, 1), views.batch(single)
            loss = scene_encoder_loss(encoder, on_walks.to(where), alone.to(where), depths.to(where), weight)
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
            checkpoint.save({"step": step, "seconds": spent, "loss": running}, scene_layouts=encoder, adam=adam)
            log.write(step=step, minutes=spent / 60, loss=running)
            last = saved = time.monotonic()
    return encoder
