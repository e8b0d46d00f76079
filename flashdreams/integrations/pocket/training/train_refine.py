"""Trains the refinement of tiles on endless regions in both sizes of cells, the coarse ones corrupted.

python -m flashdreams.integrations.pocket.training.train_refine --run FOLDER --tiles WEIGHTS

`WEIGHTS` is a released file: half of the windows are passed through its tile model from a middle noise level, so that
the refinement mends what the tile model makes (conditioning augmentation of cascades, Ho et al. 2021).
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.integrations.pocket.land.region import CELLS, Region, make_region
from flashdreams.integrations.pocket.land.state import COLOR, FINE_GRID, OCCUPANCY
from flashdreams.integrations.pocket.tiles.config import MARGIN, TILE, WINDOW
from flashdreams.integrations.pocket.tiles.masks import CLASSES, class_mask
from flashdreams.integrations.pocket.tiles.refinement import EDGE, REFINED, RefinementConfig, cut
from flashdreams.integrations.pocket.tiles.store import packed, unpacked
from flashdreams.integrations.pocket.tiles.weights import load_tile_model
from flashdreams.integrations.pocket.training.regions import HELD_OUT_SEEDS
from flashdreams.integrations.pocket.training.run import Average, TrainingRun, mixed_precision, run_parser

BATCH = 8
RATE = 2e-3
WARMUP = 50
POOL, EVERY = 16, 6
"""Regions kept, and steps after which one is new."""
MENDED = 0.25
"""Share of windows that pass through the tile model."""
MIDDLE = (0.1, 0.5)
"""Noise levels from which they do: above, the tile model makes other things than the truth has, so that the mean of
all that could be there would be learnt."""
Mender = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
"""A tile network: clean states from noisy ones, levels, what is known, its masks and the conditions."""
STEEP = 10.0
"""Slope of the occupancy as a logit."""


@dataclass(frozen=True)
class Land:
    """One region in both sizes of cells."""

    region: Region
    fine: Tensor
    """`[80, 384, 384]`, packed."""

    @classmethod
    def of(cls, seed: int) -> Land:
        """The region of `seed`."""
        region = make_region(seed)
        return cls(region, packed(region.state_in(FINE_GRID)[:REFINED]))


class Lands:
    """The newest regions at any step, the same for the same step."""

    def __init__(self, size: int = POOL, every: int = EVERY) -> None:
        self.size, self.every = size, every
        self.kept: OrderedDict[int, Land] = OrderedDict()

    def at(self, step: int) -> list[Land]:
        """The regions of `step`, oldest first."""
        first = HELD_OUT_SEEDS.stop + step // self.every
        wanted = range(first, first + self.size)
        for seed in wanted:
            if seed not in self.kept:
                self.kept[seed] = Land.of(seed)
        for seed in [s for s in self.kept if s not in wanted]:
            del self.kept[seed]
        return [self.kept[seed] for seed in wanted]


def fine_windows(lands: list[Land], rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Random windows: coarse `[N, 45, 48, 48]`, their conditions `[N, 19, 48, 48]`, fine tiles `[N, 80, 64, 64]`."""
    coarse: list[Tensor] = []
    conditions: list[Tensor] = []
    fine: list[Tensor] = []
    for _ in range(count):
        land = lands[int(rng.integers(len(lands)))]
        row, column = (int(v) for v in rng.integers(0, CELLS - WINDOW + 1, 2))
        here = (slice(row, row + WINDOW), slice(column, column + WINDOW))
        region = land.region
        whole = torch.cat([region.attributes, region.style])[:, None, None].expand(-1, WINDOW, WINDOW)
        top, left = 2 * (row + MARGIN), 2 * (column + MARGIN)
        views = (
            region.state[:, *here],
            torch.cat([region.mixture[:, *here] * 2 - 1, whole * 2 - 1]),
            land.fine[:, top : top + 2 * TILE, left : left + 2 * TILE],
        )
        turns, flip = int(rng.integers(4)), rng.random() < 0.5
        for view, kept in zip(views, (coarse, conditions, fine), strict=True):
            turned = torch.rot90(view, turns, (1, 2))
            kept.append(turned.flip(2) if flip else turned)
    return torch.stack(coarse), torch.stack(conditions), unpacked(torch.stack(fine))


@torch.no_grad()
def mended(network: Mender, states: Tensor, conditions: Tensor, masks: Tensor, rng: np.random.Generator) -> Tensor:
    """`states` noised to a middle level, and denoised again by a tile `network` in two passes."""
    level = torch.from_numpy(rng.uniform(*MIDDLE, len(states))).float()
    noise = torch.from_numpy(rng.standard_normal(states.shape, dtype=np.float32))
    s = level.view(-1, 1, 1, 1)
    noisy = torch.lerp(states, noise, s)
    with mixed_precision("cpu"):
        clean = torch.lerp(network(noisy, level, states, masks, conditions), states, masks)
        half = clean + 0.5 * (noisy - clean)
        return torch.lerp(network(half, level / 2, states, masks, conditions), states, masks)


def corrupted(states: Tensor, rng: np.random.Generator) -> Tensor:
    """Noise, blur and dropped cells, each for some of the windows."""
    result = states.clone()
    for window in result:
        if rng.random() < 0.5:
            window += float(rng.uniform(0, 0.12)) * torch.from_numpy(
                rng.standard_normal(window.shape, dtype=np.float32)
            )
        if rng.random() < 0.4:
            part = float(rng.uniform(0, 1))
            window.lerp_(F.avg_pool2d(F.pad(window[None], (1, 1, 1, 1), mode="replicate"), 3, 1)[0], part)
        if rng.random() < 0.2:
            drop = torch.from_numpy(rng.random((1, *window.shape[1:])) < 0.03)
            window[OCCUPANCY].masked_fill_(drop, -1.0)
            window[COLOR].masked_fill_(drop, 0.0)
    return result.clamp(-1, 1)


def refine_loss(found: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Loss; share of wrong cells near surfaces; mean error of the colours of solid cells, of `[N, 80, 64, 64]`."""
    levels = FINE_GRID.levels
    occupancy, true_occupancy = found[:, :levels], truth[:, :levels]
    near = ((true_occupancy > -0.98) | (occupancy.detach() > -0.9)).float()
    weight = 0.05 + near
    solid = (true_occupancy > 0).float()
    bce = F.binary_cross_entropy_with_logits(STEEP * occupancy, solid, reduction="none")
    distance = (occupancy - true_occupancy).abs()
    shape = (weight * (distance + 0.5 * bce)).sum() / weight.sum()
    colors, true_colors = found[:, levels:].unflatten(1, (-1, 3)), truth[:, levels:].unflatten(1, (-1, 3))
    depth = true_occupancy.unflatten(1, (-1, 2)).amax(2)
    share = (true_colors != 0).any(2) * torch.where(depth > -0.5, 1.0, 0.1)
    error = (colors - true_colors).abs().mean(2)
    paint = (share * error).sum() / share.sum().clamp_min(1)
    wrong = (((occupancy > 0) != (true_occupancy > 0)).float() * near).sum() / near.sum()
    return shape + 2 * paint, wrong.detach(), paint.detach()


def train_refine(
    folder: Path, steps: int, mender: Mender, *, seconds: float | None = None, batch: int = BATCH,
    lands: Lands | None = None, config: RefinementConfig | None = None, rate: float = RATE,
) -> TrainingRun:  # fmt: skip
    """Train up to step `steps`, or for `seconds`, mending what the tile network `mender` makes; resumes."""
    torch.manual_seed(0)
    network = (config or RefinementConfig()).setup()
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    average = Average(network)
    run = TrainingRun(folder, model=network, optimizer=optimizer, average=average)
    lands = lands or Lands()
    sums, began = np.zeros(3), time.monotonic()
    for step in run.steps(steps, seconds):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / WARMUP)
        rng = np.random.default_rng([51, step])
        states, conditions, truth = fine_windows(lands.at(step), rng, batch)
        masks = torch.stack([class_mask(int(rng.integers(CLASSES))) for _ in range(batch)])
        some = round(MENDED * batch)
        with_model = mended(mender, states[:some], conditions[:some], masks[:some], rng)
        given = cut(torch.cat([with_model, corrupted(states[some:], rng)]), masks)
        with mixed_precision("cpu"):
            found = network(given)[:, :, 2 * EDGE : -2 * EDGE, 2 * EDGE : -2 * EDGE]
        loss, wrong, paint = refine_loss(found, truth)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        average.update(network, step)
        sums += (loss.item(), wrong.item(), paint.item())
        if (step + 1) % 25 == 0:
            run.log(loss=sums[0] / 25, wrong=sums[1] / 25, paint=sums[2] / 25, seconds=(time.monotonic() - began) / 25)
            sums, began = np.zeros(3), time.monotonic()
    return run


def main() -> None:
    """Command line."""
    parser = run_parser(__doc__, batch=BATCH, rate=RATE)
    parser.add_argument("--tiles", type=Path, required=True, help="released weights with a tile model")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    mender: Any = load_tile_model(args.tiles).transformer.network
    train_refine(args.run, args.steps, mender, seconds=args.seconds, batch=args.batch, rate=args.rate)


if __name__ == "__main__":
    main()
