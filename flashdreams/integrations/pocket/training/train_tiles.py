"""Trains the tile model: flow matching with prediction of the clean state (x-prediction), on endless regions.

python -m flashdreams.integrations.pocket.training.train_tiles --run FOLDER
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from flashdreams.integrations.pocket.tiles.config import TileTransformerConfig
from flashdreams.integrations.pocket.tiles.masks import CLASSES, class_mask
from flashdreams.integrations.pocket.tiles.transformer import TileTransformer
from flashdreams.integrations.pocket.training.regions import RegionPool, windows
from flashdreams.integrations.pocket.training.run import Average, TrainingRun, mixed_precision, run_parser

BATCH = 16
RATE = 1e-3
WARMUP = 100
LEVEL_MEAN, LEVEL_DEVIATION = 0.6, 1.2
"""Of the logit-normal noise levels."""
ODD_MASKS = 0.15
"""Share of windows whose known part is random rather than that of a class of tiles."""


def draw_masks(rng: np.random.Generator, count: int, size: int) -> Tensor:
    """Known parts `[N, 1, size, size]`: those of the classes of tiles, or random sides."""
    masks = [class_mask(int(rng.integers(CLASSES))) for _ in range(count)]
    for mask in masks:
        if rng.random() < ODD_MASKS:
            mask.zero_()
            for side in range(4):
                if rng.random() < 0.5:
                    turned = torch.rot90(mask, side, (1, 2))
                    turned[:, : int(rng.integers(2, size // 2))] = 1
    return torch.stack(masks)


def tile_loss(
    model: TileTransformer, states: Tensor, conditions: Tensor, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Weighted squared error of the predicted clean states, and the plain one of every window `[N]`.

    The weight is `1 / (s^2 + 0.02)`, at most 8: between that of the clean state and that of the flow.
    """
    n, device = len(states), states.device
    level = torch.from_numpy(1 / (1 + np.exp(-rng.normal(LEVEL_MEAN, LEVEL_DEVIATION, n)))).float().to(device)
    noise = torch.from_numpy(rng.standard_normal(states.shape, dtype=np.float32)).to(device)
    mask = draw_masks(rng, n, states.shape[-1]).to(device)
    s = level.view(-1, 1, 1, 1)
    clean = model.network((1 - s) * states + s * noise, level, states, mask, conditions)
    share = (1 - 0.9 * mask).expand_as(states)
    error = ((clean - states).square() * share).sum((1, 2, 3)) / share.sum((1, 2, 3))
    weight = (1 / (level.square() + 0.02)).clamp_max(8.0)
    return (error * weight).mean(), error.detach()


def train_tiles(
    folder: Path, steps: int, *, seconds: float | None = None, batch: int = BATCH, pool: RegionPool | None = None,
    config: TileTransformerConfig | None = None, device: str = "cpu", rate: float = RATE,
) -> TrainingRun:  # fmt: skip
    """Train up to step `steps`, or for `seconds`; resumes from `folder`."""
    torch.manual_seed(0)
    model = TileTransformer(config or TileTransformerConfig()).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    average = Average(model)
    run = TrainingRun(folder, model=model, optimizer=optimizer, average=average)
    pool = pool or RegionPool()
    sums, began = np.zeros(3), time.monotonic()
    for step in run.steps(steps, seconds):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / WARMUP)
        rng = np.random.default_rng([20, step])
        states, conditions = (x.to(device) for x in windows(pool.at(step), rng, batch))
        with mixed_precision(device):
            loss, error = tile_loss(model, states, conditions, rng)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update(model, step)
        sums += (loss.item(), error.mean().item(), norm.item())
        if (step + 1) % 25 == 0:
            loss_mean, error_mean, norm_mean = sums / 25
            run.log(loss=loss_mean, error=error_mean, norm=norm_mean, seconds=(time.monotonic() - began) / 25)
            sums, began = np.zeros(3), time.monotonic()
    return run


def main() -> None:
    """Command line."""
    parser = run_parser(__doc__, batch=BATCH, rate=RATE)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    train_tiles(args.run, args.steps, seconds=args.seconds, batch=args.batch, device=args.device, rate=args.rate)


if __name__ == "__main__":
    main()
