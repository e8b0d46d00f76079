"""Third stage of the pocket world's training: the denoiser. Resumes from its last checkpoint.

Every chunk of a clip gets its own noise level: some are nearly clean (the past), some nearly or wholly noise (what is
to be dreamed). The network predicts the clean latent of all of them. Later in the run the past is replaced by what the
model itself makes of it, while the targets stay the renderer's true frames: so it learns to mend its own mistakes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from flashdreams.integrations.pocket.model.codec import PatchCodec
from flashdreams.integrations.pocket.model.denoiser import PocketTransformer, PocketTransformerConfig
from flashdreams.integrations.pocket.model.scene_encoder import GRIDS, SceneEncoder, SceneEncoderConfig
from flashdreams.integrations.pocket.training.latents import EncodedClips, Stretches
from flashdreams.integrations.pocket.training.muon import muon
from flashdreams.integrations.pocket.training.run import training_dtype
from flashdreams.integrations.pocket.training.run_log import Checkpoint, RunLog
from flashdreams.integrations.pocket.training.train_scene_encoder import channel_weight, guess_loss
from flashdreams.integrations.pocket.training.training_clips import predict_clean, scene_features, with_carried
from flashdreams.integrations.pocket.training.views import EncodedViews

OWN_PAST_FROM, OWN_PAST_SHARE = 0.35, 0.6
"""After this share of the run, this share of the steps takes the past from the model itself."""
AVERAGE_DECAY = 0.998
PAST_LEVEL = 0.12
"""Largest noise level, 0 to 1, of the chunks that are given as past."""
GUESS_WEIGHT = 0.3
"""Of each of the scene encoder's guesses, beside the dreamed latents' squared error. Distances are learnt before."""


@dataclass
class TrainOptions:
    """Command-line options of the stage."""

    minutes: float
    """Length of the whole run, resumed parts included: the learning rate falls to zero at its end."""
    device: str = "cpu"
    clips: int = 6
    """Clips in a step."""
    chunks: int = 6
    """Chunks of a clip: at least the window that the model will have."""
    rate: float = 2e-3
    """Peak learning rate of AdamW; the place's grids take six times, Muon two and a half times as much."""
    compile: bool = False
    """Fuse the blocks into fewer kernels: a fifth faster after a minute or two; needs a C++ compiler."""
    save_every: float = 150.0
    """Seconds between checkpoints."""


class DenoiserTrainer(nn.Module):
    """Scene encoder and transformer: all that this stage trains."""

    def __init__(self, scene_encoder: SceneEncoder, dtype: torch.dtype | None = None) -> None:
        """Networks of `dtype`, or of the one that this processor computes fastest in."""
        super().__init__()
        dtype = dtype or training_dtype(torch.device("cpu"))
        self.scene_encoder = scene_encoder
        self.scene_encoder.set_dtype(dtype)
        self.transformer = PocketTransformer(PocketTransformerConfig(dtype=dtype))

    def features(self, before: Tensor, poses: Tensor, scenes: Tensor) -> tuple[Tensor, Tensor]:
        """See `clips.place_features`."""
        return scene_features(self.scene_encoder, before, poses, scenes)

    def forward(self, noisy: Tensor, level: Tensor, features: Tensor, scenes: Tensor) -> Tensor:
        """See `clips.predict_clean`."""
        return predict_clean(self.transformer, noisy.to(self.transformer.dtype), level, features, scenes)


def trained_denoiser(codec: PatchCodec, run: Path) -> DenoiserTrainer:
    """The averaged weights of the run's last checkpoint; raises FileNotFoundError when there is none."""
    path = run / "denoiser.pt"
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there: train the denoiser first")
    scene_encoder = SceneEncoder(SceneEncoderConfig())
    scene_encoder.codec.load_state_dict(codec.state_dict())
    model = DenoiserTrainer(scene_encoder).requires_grad_(False)
    average = torch.load(path, weights_only=True, map_location="cpu")["average"]
    parameters = _slashed(model)
    for key, value in average.items():
        parameters[key].copy_(value)
    return model


def _slashed(model: nn.Module) -> dict[str, nn.Parameter]:
    """Its parameters by names that a `ParameterDict` takes, which must have no dots."""
    return {name.replace(".", "/"): parameter for name, parameter in model.named_parameters()}


class MasterWeights:
    """fp32 copies of low-precision parameters, which the optimizers change, and their running average."""

    def __init__(self, model: nn.Module) -> None:
        self.slashed = _slashed(model)
        self.master = nn.ParameterDict({k: nn.Parameter(p.detach().float().clone()) for k, p in self.slashed.items()})
        self.average = nn.ParameterDict(
            {k: nn.Parameter(p.detach().clone(), requires_grad=False) for k, p in self.master.items()}
        )

    def optimizers(self, rate: float) -> list[torch.optim.Optimizer]:
        """Muon for the matrices inside the blocks, AdamW for everything else (the place's grids learn faster)."""
        blocks = [p for k, p in self.master.items() if "/blocks/" in k and p.dim() == 2]
        grids = [p for k, p in self.master.items() if k.removeprefix("scene_encoder/").replace("/", ".") in GRIDS]
        taken = {id(p) for p in blocks + grids}
        rest = [p for p in self.master.values() if id(p) not in taken]
        groups = [{"params": rest, "lr": rate}, {"params": grids, "lr": 6 * rate, "weight_decay": 0.0}]
        adam = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
        matrices = muon(blocks, lr=2.5 * rate, weight_decay=0.02)
        for optimizer in (adam, matrices):
            for group in optimizer.param_groups:
                group["peak"] = group["lr"]
        return [adam, matrices]

    def collect_gradients(self) -> None:
        """Move the model's gradients to the master weights and clip them."""
        for key, master in self.master.items():
            parameter = self.slashed[key]
            master.grad, parameter.grad = None if parameter.grad is None else parameter.grad.float(), None
        nn.utils.clip_grad_norm_(self.master.values(), 1.0)

    @torch.no_grad()
    def publish(self, step: int) -> None:
        """Copy the master weights into the model and advance the average."""
        decay = min(AVERAGE_DECAY, step / (step + 20))
        for key, master in self.master.items():
            self.slashed[key].copy_(master)
            self.average[key].lerp_(master, 1 - decay)


def noise_levels(shape: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Noise levels `[N, T]` in 0..1, and which chunks are past (nearly clean) rather than to be dreamed."""
    kind, u = torch.rand(shape, device=device), torch.rand(shape, device=device)
    level = torch.where(kind < 0.42, torch.ones_like(u), 0.15 + 0.85 * u.sqrt())
    past = kind > 0.65
    level = torch.where(past, PAST_LEVEL * u, level)
    none_past = torch.rand(shape[0], 1, device=device) < 0.06
    return torch.where(none_past, torch.ones_like(level), level), past & ~none_past


def corrupt(clean: Tensor, level: Tensor) -> Tensor:
    """`x_t = (1 - s) x_0 + s eps`, with the noise level `s [N, T]` of every chunk."""
    s = level[..., None, None]
    return (1 - s) * clean + s * torch.randn_like(clean)


def training_loss(
    model: DenoiserTrainer, stretches: Stretches, views: Stretches, weight: Tensor, own_past: bool
) -> Tensor:
    """Squared error of the predicted clean latents, and of the scene encoder's guess, by channel `weight [C]`.

    The guess is of the single `views` too: walks look at one corner, and alone would make it forget the others.
    `own_past`: the past is the model's.
    """
    clean, before, poses, scenes = stretches.latents, stretches.before, stretches.poses, stretches.scenes
    level, past = noise_levels(clean.shape[:2], clean.device)  # type: ignore[arg-type]
    scene_encoder, inverse_depth = model.features(before, poses, scenes)

    def conditioned(source: Tensor, share: float) -> Tensor:
        noise = PAST_LEVEL * torch.rand_like(level)
        given = torch.rand_like(level) < share
        return with_carried(
            model.scene_encoder, scene_encoder, corrupt(source, noise), before, poses, inverse_depth, given
        )

    source = clean
    if own_past:
        with torch.no_grad():
            fresh = torch.where(torch.rand_like(level) < 0.7, torch.ones_like(level), level)
            source = model(corrupt(clean, fresh), fresh, conditioned(clean, 0.6), scenes).float()
    noisy = corrupt(torch.where(past[..., None, None], source, clean), level)
    predicted = model(noisy, level, conditioned(source, 0.85), scenes).float()
    error = ((predicted - clean).square() * weight).mean(dim=(-1, -2))
    share = torch.where(past, 0.5, 1.0)
    alone, _ = model.features(views.before, views.poses, views.scenes)
    guess = guess_loss(scene_encoder, clean, weight) + guess_loss(alone, views.latents, weight)
    return (error * share).sum() / share.sum() + GUESS_WEIGHT * guess


def train_denoiser(
    camera_paths: EncodedClips, views: EncodedViews, scene_encoder: SceneEncoder, run: Path, options: TrainOptions
) -> DenoiserTrainer:
    """Train until `options.minutes` are over, all resumed parts counted; the averaged weights are in the checkpoint.

    `scene_encoder` is the result of `train_scene_encoder`; it goes on learning, from as many `views` as there are
    chunks.
    """
    device = torch.device(options.device)
    torch.manual_seed(1)
    model = DenoiserTrainer(scene_encoder, training_dtype(device))
    weight = channel_weight(scene_encoder.codec).to(device)
    model.to(device)
    weights = MasterWeights(model)
    weights.master.to(device), weights.average.to(device)
    if options.compile:
        for block in model.transformer.network.blocks:
            block.compile(dynamic=False)
    adam, matrices = weights.optimizers(options.rate)
    checkpoint, log = Checkpoint(run / "denoiser.pt"), RunLog(run / "denoiser.csv")
    peaks = [group["peak"] for group in adam.param_groups + matrices.param_groups]
    parts: dict[str, Any] = {"master": weights.master, "average": weights.average, "adam": adam, "muon": matrices}
    figures = checkpoint.load(**parts)
    step, spent = int(figures.get("step", 0)), figures.get("seconds", 0.0)
    for group, peak in zip(adam.param_groups + matrices.param_groups, peaks, strict=True):
        group["peak"] = peak
    weights.publish(step)
    torch.manual_seed(1 + step)
    last = saved = time.monotonic()
    total, running = options.minutes * 60, figures.get("loss", 0.0)
    bar = tqdm(total=round(total), initial=round(spent), desc="training denoiser", unit="s")
    while spent < total:
        done = spent / total
        for group in adam.param_groups + matrices.param_groups:
            group["lr"] = group["peak"] * min(1.0, (step + 1) / 100) * min(1.0, 0.02 + (1 - done) / 0.45)
        stretches = camera_paths.batch(options.clips, options.chunks).to(device)
        alone = views.batch(options.clips * options.chunks)[0].to(device)
        own_past = done > OWN_PAST_FROM and bool(torch.rand(()) < OWN_PAST_SHARE)
        loss = training_loss(model, stretches, alone, weight, own_past)
        loss.backward()
        weights.collect_gradients()
        adam.step()
        matrices.step()
        step, now = step + 1, time.monotonic()
        weights.publish(step)
        # A step that took very long was a machine asleep or a process stopped: it does not count as training time.
        spent, last = spent + min(now - last, 30.0), now
        running = loss.item() if running == 0.0 else 0.98 * running + 0.02 * loss.item()
        bar.update(round(spent) - bar.n)
        bar.set_postfix(step=step, loss=f"{running:.4f}")
        if now - saved > options.save_every or spent >= total:
            checkpoint.save({"step": step, "seconds": spent, "loss": running}, **parts)
            log.write(step=step, minutes=spent / 60, loss=running)
            last = saved = time.monotonic()
    return model
