"""Trains the network that reads pictures, on files of `pictures`, and writes its weights.

python -m flashdreams.integrations.pocket.training.train_pictures --run FOLDER FILE ... [--export FILE]
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from flashdreams.integrations.pocket.land.kinds import ATTRIBUTES, KINDS, STYLE
from flashdreams.integrations.pocket.tiles.picture import distances
from flashdreams.integrations.pocket.tiles.picture_network import (
    HOURS,
    PictureNetwork,
    PictureNetworkConfig,
    Reading,
)
from flashdreams.integrations.pocket.tiles.weights import compressed
from flashdreams.integrations.pocket.training.pictures import ASIDE, PITCH
from flashdreams.integrations.pocket.training.run import Average, TrainingRun, mixed_precision, run_parser

BATCH = 16
RATE = 2e-3
WARMUP = 50
EIGHT_BITS_FROM = 2000
"""Weights of so many numbers are written in 8 bits: the file stays small."""
SCALAR_WEIGHTS = (1.0, 0.3, 0.5, 0.5, 6.0)
"""Of the errors of clouds, haze, the light's direction (2) and pitch."""
HAZE, TILT = 0.02, 0.3
"""Units of haze and pitch in what the network answers."""


def train_pictures(
    folder: Path, data: dict[str, Tensor], steps: int, *, seconds: float | None = None, batch: int = BATCH,
    config: PictureNetworkConfig | None = None, rate: float = RATE, device: str = "cpu",
) -> TrainingRun:  # fmt: skip
    """Train up to step `steps`, or for `seconds`, on the views of `data`; resumes from `folder`."""
    torch.manual_seed(0)
    network: PictureNetwork = (config or PictureNetworkConfig()).setup().to(device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.02)
    average = Average(network)
    run = TrainingRun(folder, model=network, optimizer=optimizer, average=average)
    sums, began = 0.0, time.monotonic()
    for step in run.steps(steps, seconds):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / WARMUP) * (1 - min(step / steps, 1.0)) ** 0.5
        rng = np.random.default_rng([53, step])
        chosen = torch.from_numpy(rng.integers(0, len(data["picture"]), batch))
        views = {name: value[chosen].to(device).float() for name, value in data.items()}
        if rng.random() < 0.5:
            views = mirrored(views)
        pictures = disturbed(views, rng)
        with mixed_precision(device):
            reading = network(pictures)
        parts = losses(reading, views)
        loss = torch.stack(list(parts.values())).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        average.update(network, step)
        sums += loss.item()
        if (step + 1) % 25 == 0:
            run.log(loss=sums / 25, seconds=(time.monotonic() - began) / 25, **{k: v.item() for k, v in parts.items()})
            sums, began = 0.0, time.monotonic()
    return run


def losses(reading: Reading, views: dict[str, Tensor]) -> dict[str, Tensor]:
    """Errors of a reading of views, by name."""
    kinds, attributes, style, hour, scalars = views["facts"].split(
        [len(KINDS), len(ATTRIBUTES), len(STYLE), 1, 5], 1
    )  # fmt: skip
    scalars = scalars / torch.tensor([1.0, HAZE, 1.0, 1.0, TILT], device=scalars.device)
    share = views["share"] / 255
    sky = (1 - share.sum(1, keepdim=True)).clamp_min(0)
    there = share.sum(1).clamp(0, 1)
    color = (reading.color - (views["albedo"] / 127.5 - 1)).square().mean(1)
    # The files hold the mean over a spot, which is between wet and dry (0.5) where it shows anything but ground.
    wet = ((views["water"] / 255 - 0.5) / share[:, 1].clamp_min(0.25) + 0.5).clamp(0, 1)
    water = F.binary_cross_entropy_with_logits(reading.water, wet, reduction="none")
    return {
        "kinds": -(kinds * reading.kinds.log_softmax(1)).sum(1).mean(),
        "rest": (reading.attributes - attributes).square().mean() + (reading.style - style).square().mean(),
        "hour": -(_near_hours(hour) * reading.hour.log_softmax(1)).sum(1).mean() * 0.5,
        "scalars": (reading.scalars - scalars).square().mean(0).dot(torch.tensor(SCALAR_WEIGHTS).to(scalars)),
        "what": -(torch.cat([share, sky], 1) * reading.what.log_softmax(1)).sum(1).mean() * 3,
        "distance": _distance_loss(reading.distance, views["distance"], share[:, 0]),
        "color": (color * there).sum() / there.sum().clamp_min(1) * 6,
        "water": (water * share[:, 1]).mean(),
    }


def _near_hours(hour: Tensor) -> Tensor:
    """`[N, 24]`: shares of the two hours on either side of `hour [N, 1]`."""
    away = torch.remainder(hour - torch.arange(HOURS, device=hour.device) + 12, 24) - 12
    return (1 - away.abs()).clamp_min(0)


def _distance_loss(logits: Tensor, metres: Tensor, things: Tensor) -> Tensor:
    """Cross-entropy of the two nearest distances, where there are things."""
    steps = distances().log().to(metres)
    place = (metres.clamp(distances()[0], distances()[-1]).log() - steps[0]) / (steps[1] - steps[0])
    near = (1 - (place[:, None] - torch.arange(len(steps), device=place.device)[:, None, None]).abs()).clamp_min(0)
    error = -(near * logits.log_softmax(1)).sum(1)
    return (error * things).sum() / things.sum().clamp_min(1)


def mirrored(views: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same views with left and right exchanged."""
    flipped = {name: value.flip(-1) if name != "facts" else value.clone() for name, value in views.items()}
    flipped["facts"][:, ASIDE] *= -1
    return flipped


def disturbed(views: dict[str, Tensor], rng: np.random.Generator) -> Tensor:
    """Pictures in 0..1 of views as visitors bring them: some drawn flatly, in few colours, noisy, off in colour."""
    pictures = views["picture"] / 255
    many = (len(pictures), 1, 1, 1)

    def some(share: float) -> Tensor:
        return torch.from_numpy(rng.random(many) < share).to(pictures.device)

    def numbers(low: float, high: float, *shape: int) -> Tensor:
        return torch.from_numpy(rng.uniform(low, high, (len(pictures), *shape))).float().to(pictures.device)

    flat = F.interpolate(views["albedo"] / 255, scale_factor=2, mode="nearest")
    sky = (1 - views["share"].sum(1, keepdim=True) / 255).clamp(0, 1)
    sky = F.interpolate(sky, scale_factor=2, mode="nearest")
    mean = (pictures * sky).sum((2, 3), keepdim=True) / sky.sum((2, 3), keepdim=True).clamp_min(1)
    drawn = torch.lerp(flat, mean.expand_as(flat), sky)
    pictures = torch.where(some(0.12), drawn, pictures)
    levels = numbers(5, 14, 1, 1, 1).round()
    pictures = torch.where(some(0.15), (pictures * levels).round() / levels, pictures)
    blurred = F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, 1)
    pictures = torch.where(some(0.15), blurred, pictures)
    pictures = torch.where(some(0.4), pictures * numbers(0.92, 1.08, 3, 1, 1) + numbers(-0.03, 0.03, 1, 1, 1), pictures)
    noise = torch.from_numpy(rng.normal(size=tuple(pictures.shape))).float().to(pictures.device)
    return (pictures + noise * numbers(0, 0.03, 1, 1, 1)).clamp(0, 1)


@torch.no_grad()
def errors(network: PictureNetwork, data: dict[str, Tensor]) -> dict[str, float]:
    """Errors on views as they are, by name: `losses`, and in units of their own."""
    views = {name: value.float() for name, value in data.items()}
    reading = network(views["picture"] / 255)
    facts, share = views["facts"], views["share"] / 255
    things = (share[:, 0] > 0.5) & (views["distance"] < 20)
    found = torch.einsum("ndhw,d->nhw", reading.distance.softmax(1), distances().log())
    away = (found - views["distance"].clamp_min(0.1).log()).abs()[things]
    right = reading.what.argmax(1) == torch.cat([share, 1 - share.sum(1, keepdim=True)], 1).argmax(1)
    hour = torch.remainder(reading.hour.argmax(1) - facts[:, -6] + 12, 24) - 12
    return {
        **{name: float(value) for name, value in losses(reading, views).items()},
        "kind_right": float((reading.kinds.argmax(1) == facts[:, : len(KINDS)].argmax(1)).float().mean()),
        "hours_off": float(hour.abs().median()),
        "pitch_degrees_off": float(torch.rad2deg((reading.scalars[:, -1] * TILT - facts[:, PITCH]).abs()).mean()),
        "spots_right": float(right.float().mean()),
        "distance_off": float(away.median()),
    }


def main() -> None:
    """Command line."""
    parser = run_parser(__doc__, batch=BATCH, rate=RATE)
    parser.add_argument("data", type=Path, nargs="+", help="files of views")
    parser.add_argument("--export", type=Path, help="file that gets the averaged weights")
    parser.add_argument("--held-out", type=Path, help="file of views to judge by")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    files = [load_file(file) for file in args.data]
    data = {name: torch.cat([file[name] for file in files]) for name in files[0]}
    run = train_pictures(
        args.run, data, args.steps, seconds=args.seconds, batch=args.batch, rate=args.rate, device=args.device
    )
    if args.held_out is not None:
        network = PictureNetworkConfig().setup()
        network.load_state_dict(run.parts["average"].weights)
        print(errors(network.eval(), load_file(args.held_out)))
    if args.export is not None:
        weights = {name: value.cpu() for name, value in run.parts["average"].weights.items()}
        save_file(compressed(weights, EIGHT_BITS_FROM), args.export)


if __name__ == "__main__":
    main()
