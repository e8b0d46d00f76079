"""Trains the classifier of views that judges endless worlds, on true views of procedural land.

python -m flashdreams.integrations.pocket.training.train_view_classifier FILE

The weights are not shipped: they follow from the code alone in a quarter of an hour of one core, the judge so follows
when the grammar changes, and no version of them stays in the repository's history.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from flashdreams.files import drafted
from flashdreams.integrations.pocket.evaluation.tile_views import Cast, cameras
from flashdreams.integrations.pocket.evaluation.view_classifier import (
    COLUMNS,
    ROWS,
    TIMES,
    Labels,
    ViewClassifier,
    classifier_loss,
    right_shares,
)
from flashdreams.integrations.pocket.land.kinds import ATTRIBUTES, KINDS
from flashdreams.integrations.pocket.land.light import Light, light_at
from flashdreams.integrations.pocket.land.region import make_region
from flashdreams.integrations.pocket.training.regions import HELD_OUT_SEEDS

TRAINED_ON = range(500_000, 600_000)
"""Seeds of its regions: none of evaluation, and none that the worlds were trained on."""
TESTED_ON = range(HELD_OUT_SEEDS.stop - 70, HELD_OUT_SEEDS.stop)
LIGHTS, VIEWS = 3, 2
"""Lights of a region, and views in each."""
HOURS = {"day": (7.5, 16.5), "twilight": (5.2, 7.0), "night": (21.0, 28.5)}
"""Times of day by their name; twilight is also from 17.2 to 20."""
FOGGY, FOG, NO_FOG = 0.4, (0.03, 0.05), (0.004, 0.016)
"""Share of lights with fog, and the haze with and without it; words for fog set 0.045."""
EXTREME = 0.6
"""Of the beta distribution of amounts: below 1 much and little are more frequent than what lies between."""
BATCH, RATE = 32, 2e-3


@dataclass(frozen=True)
class Size:
    """Size of the training."""

    regions: int = 1680
    passes: int = 10
    """Times that every view is learnt from."""


@dataclass(frozen=True)
class Examples:
    """Views `[N, 3, 36, 64]` in 8 bits, with their labels."""

    views: Tensor
    labels: Labels

    def chosen(self, index: Tensor) -> Examples:
        """The views of `index`, in their order."""
        return Examples(self.views[index], Labels(*(getattr(self.labels, f.name)[index] for f in fields(Labels))))


def judged_light(rng: np.random.Generator, time: str) -> tuple[Light, tuple[float, float]]:
    """Light at a `time` of day, and how much it has of clouds and fog, 0 to 1."""
    low, high = HOURS[time] if time != "twilight" or rng.random() < 0.4 else (17.2, 20.0)
    clouds, foggy = float(rng.uniform(0, 1)), float(rng.random() < FOGGY)
    light = light_at(
        float(rng.uniform(low, high)), heading=float(rng.uniform(-math.pi, math.pi)), clouds=clouds,
        haze=float(rng.uniform(*(FOG if foggy else NO_FOG))),
        drift=tuple(float(v) for v in rng.uniform(0, 512, 2)),  # type: ignore[arg-type]
        ridges=(float(rng.uniform(0, 6.28)), float(rng.uniform(0.02, 0.16))),
    )  # fmt: skip
    return light, (clouds, foggy)


def make_examples(seeds: range, cast: Cast | None = None) -> Examples:
    """True views of regions of one kind each, with amounts anywhere between nothing and twice as much as usual.

    They are taken as those that are judged, see `tile_views.true_views`. Labels of amounts are of what each view shows.
    `cast` may be a compiled one.
    """
    views, rows, coverage = [], [], []
    for number, seed in enumerate(tqdm(seeds, "views of land", unit="region")):
        rng = np.random.default_rng([51, seed])
        kind = number % len(KINDS)
        amounts = rng.beta(EXTREME, EXTREME, len(ATTRIBUTES))
        region = make_region(seed, (KINDS[kind],), amounts=dict(zip(ATTRIBUTES, amounts.tolist(), strict=True)))
        for turn in range(LIGHTS):
            time = (number + turn) % len(TIMES)
            light, weather = judged_light(rng, TIMES[time])
            for true, pose in cameras(region, VIEWS, rng, light, cast):
                small = F.interpolate(true.view(pose, 2 * ROWS)[None], (ROWS, COLUMNS), mode="area")
                views.append((small * 255).round().byte())
                coverage.append(true.coverage(pose, ROWS))
                rows.append((kind, time, *weather))
    table = torch.tensor(rows, dtype=torch.float32)
    seen = torch.stack(coverage).sqrt()
    return Examples(torch.cat(views), Labels(table[:, 0].long(), table[:, 1].long(), seen, table[:, 2:]))


def train(examples: Examples, passes: int) -> ViewClassifier:
    """A classifier that has learnt from every example `passes` times: mirrored, and blurred, at random."""
    torch.manual_seed(0)
    network, rng = ViewClassifier(), np.random.default_rng(52)
    steps = passes * max(len(examples.views) // BATCH, 1)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in tqdm(range(steps), "learning", unit="step"):
        batch = examples.chosen(torch.from_numpy(rng.integers(0, len(examples.views), BATCH)))
        loss = classifier_loss(network(_varied(batch.views.float() / 255, rng)), batch.labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval().requires_grad_(False)


def _varied(views: Tensor, rng: np.random.Generator) -> Tensor:
    """Views mirrored and blurred at random: which side is which, and how sharp it is drawn, tells nothing."""
    if rng.random() < 0.5:
        views = views.flip(-1)
    if rng.random() < 0.5:
        around = F.avg_pool2d(views, 3, 1, 1, count_include_pad=False)
        views = torch.lerp(views, around, float(rng.uniform(0, 1)))
    return views


def tested(network: ViewClassifier, examples: Examples) -> dict[str, float]:
    """Shares of held-out views that the classifier tells right, see `right_shares`."""
    with torch.no_grad():
        return right_shares(network(examples.views.float() / 255), examples.labels)


def load_or_train(path: Path, size: Size) -> ViewClassifier:
    """The classifier kept in `path`; trained now, and kept there, where it is missing."""
    network = ViewClassifier()
    if path.is_file():
        network.load_state_dict(load_file(path))
        return network.eval().requires_grad_(False)
    network = train(make_examples(TRAINED_ON[: size.regions]), size.passes)
    with drafted(path) as draft:
        save_file(network.state_dict(), draft)
    return network


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="a safetensors file; it is tested only if it is there already")
    parser.add_argument("--regions", type=int, default=Size.regions)
    parser.add_argument("--passes", type=int, default=Size.passes)
    args = parser.parse_args()
    torch.set_num_threads(1)
    network = load_or_train(args.weights, Size(args.regions, args.passes))
    print(json.dumps(tested(network, make_examples(TESTED_ON)), indent=1))


if __name__ == "__main__":
    main()
