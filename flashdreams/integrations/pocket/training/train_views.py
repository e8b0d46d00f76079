"""Trains the network of views on single views of endless regions, against the true renderer.

python -m flashdreams.integrations.pocket.training.train_views --run FOLDER [--fine [--refinement WEIGHTS]]
    [--from WEIGHTS]

With `--fine` things are given in fine cells, and seams pixel by pixel, and some views are of the stored places, some in
their light. `WEIGHTS` is a released file: its refinement makes the fine things of every second region from coarse ones,
as it does in play; a new run goes on from its network of views.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from flashdreams.integrations.pocket.land.camera import camera_pose
from flashdreams.integrations.pocket.land.kinds import HELD_OUT_KIND, KINDS
from flashdreams.integrations.pocket.land.light import Light, random_light
from flashdreams.integrations.pocket.land.region import CELLS, REACH, Region, make_region
from flashdreams.integrations.pocket.land.renderer import TrueViews, compiled_cast
from flashdreams.integrations.pocket.land.state import CELL, FINE_GRID, OCCUPANCY
from flashdreams.integrations.pocket.tiles.fine import FineThings
from flashdreams.integrations.pocket.tiles.refinement import REFINED, Refinement, thinned
from flashdreams.integrations.pocket.tiles.sight import LocalState, look
from flashdreams.integrations.pocket.tiles.store import packed
from flashdreams.integrations.pocket.tiles.stored import stored_place, stored_places
from flashdreams.integrations.pocket.tiles.view_network import ViewNetworkConfig
from flashdreams.integrations.pocket.tiles.weights import load_refinement, load_view_network, trained_steps
from flashdreams.integrations.pocket.training.place_views import Places, PlaceViews
from flashdreams.integrations.pocket.training.regions import HELD_OUT_SEEDS
from flashdreams.integrations.pocket.training.run import Average, TrainingRun, mixed_precision, run_parser

BATCH = 8
RATE = 1.5e-3
WARMUP = 100
LAST = 0.02
"""Share of the learning rate that is left at the end of a run."""
POOL = 320
"""Views kept to learn from."""
STEPS_PER_VIEW = 3
"""Steps after which there is a new view: making one takes as long as learning from two."""
PER_LIGHT, PER_REGION = 4, 16
"""Views drawn in one light, and of one region."""
CAMERA_REACH = 14.0
"""Metres from the middle of a region to a camera at most, so that much is seen on all sides."""
PLACES_EVERY, STORED_LIGHT_EVERY = 4, 12
"""Of so many lights, one is of views of a stored place; of so many, one is a stored place's light on a region."""
TRAINED_KINDS = tuple(kind for kind in KINDS if kind != HELD_OUT_KIND)


@dataclass(frozen=True)
class Example:
    """One view: what rays see, the light, and the true picture `[3, 144, 256]` in 8 bits."""

    seen: Tensor
    light: Tensor
    picture: Tensor
    albedo: Tensor | None = None
    """`[3, 144, 256]`, see `fine_sight.Sharp`; None without fine cells."""
    source: Tensor | None = None
    """`[144 * 256]`, the same."""
    sky: Tensor | None = None
    """`[4, 144, 256]`, the same."""


def random_pose(rng: np.random.Generator, state: Tensor, reach: float = CAMERA_REACH) -> Tensor:
    """A camera somewhere that is free in `state`; raises nothing: after 40 tries it takes any spot."""
    for _ in range(40):
        x, z = (float(v) for v in rng.uniform(-reach, reach, 2))
        row, column = (int((v + REACH) / CELL) for v in (z, x))
        if float(state[OCCUPANCY, row - 1 : row + 2, column - 1 : column + 2][:5].max()) < -0.6:
            break
    return camera_pose(x, z, float(rng.uniform(-math.pi, math.pi)), float(np.clip(rng.normal(0, 0.15), -0.5, 0.5)))


class Examples:
    """Views by number, the same for the same number; the newest ones are kept."""

    def __init__(
        self, size: int = POOL, cast: Callable[..., tuple[Tensor, ...]] | None = None, *, fine: bool = False,
        refinement: Refinement | None = None,
    ) -> None:  # fmt: skip
        self.size, self.cast, self.fine, self.refinement = size, cast, fine, refinement
        self.kept: OrderedDict[int, Example] = OrderedDict()
        self._region: tuple[int, Region, FineThings | None] | None = None
        self._lit: tuple[int, TrueViews | PlaceViews, LocalState] | None = None
        self._places = Places()

    def at(self, step: int) -> list[Example]:
        """The views of `step`, oldest first."""
        first = step // STEPS_PER_VIEW
        for number in range(first, first + self.size):
            if number not in self.kept:
                self.kept[number] = self._make(number)
        while next(iter(self.kept)) < first:
            self.kept.popitem(last=False)
        return list(self.kept.values())

    def _make(self, number: int) -> Example:
        views, place = self._light(number // PER_LIGHT)
        pose = random_pose(np.random.default_rng([21, number]), place.state)
        picture = (views.view(pose) * 255).round().byte()
        seen, light = look(place, pose), place.light.vector()
        if seen.sharp is None:
            return Example(seen.features.half(), light, picture)
        sharp = seen.sharp
        return Example(seen.features.half(), light, picture, sharp.albedo.half(), sharp.source.int(), sharp.sky.half())

    def _light(self, number: int) -> tuple[TrueViews | PlaceViews, LocalState]:
        if self.fine and number % PLACES_EVERY == PLACES_EVERY - 1:
            return self._places[number // PLACES_EVERY]
        if self._lit is None or self._lit[0] != number:
            seed = HELD_OUT_SEEDS.stop + number * PER_LIGHT // PER_REGION
            if self._region is None or self._region[0] != seed:
                region = make_region(seed, TRAINED_KINDS)
                self._region = seed, region, self._things(region) if self.fine else None
            _, region, things = self._region
            light = self._any_light(number)
            self._lit = number, *lit(region, light, self.cast, things)
        return self._lit[1:]

    def _any_light(self, number: int) -> Light:
        if self.fine and number % STORED_LIGHT_EVERY == 0:
            names = list(stored_places())
            return stored_place(names[number // STORED_LIGHT_EVERY % len(names)]).light
        return random_light(np.random.default_rng([22, number]))

    def _things(self, region: Region) -> FineThings:
        if self.refinement is not None and region.seed % 2:
            return refined_things(region, self.refinement)
        return true_things(region)


def lit(
    region: Region,
    light: Light,
    cast: Callable[..., tuple[Tensor, ...]] | None = None,
    things: FineThings | None = None,
) -> tuple[TrueViews, LocalState]:
    """The true views of `region` in a light, and its state for `look`, with its `things` in fine cells if given."""
    assert region.state.shape[-1] == CELLS
    return TrueViews(region, light, cast), LocalState.of(region.state, (0.0, 0.0), light, things)


def true_things(region: Region) -> FineThings:
    """The things of `region` in fine cells, as they are."""
    return FineThings.of(packed(region.state_in(FINE_GRID)[:REFINED]), (0.0, 0.0))


@torch.no_grad()
def refined_things(region: Region, refinement: Refinement) -> FineThings:
    """The things of `region` in fine cells, as `refinement` makes them of coarse ones."""
    with mixed_precision("cpu"):
        found = refinement(region.state[None])[0]
    return FineThings.of(thinned(found), (0.0, 0.0))


def view_loss(picture: Tensor, truth: Tensor) -> Tensor:
    """Squared error, with the error of differences between neighbouring pixels, and a little absolute error."""
    error = picture - truth
    across = error[..., :, 1:] - error[..., :, :-1]
    down = error[..., 1:, :] - error[..., :-1, :]
    return error.square().mean() + 0.05 * error.abs().mean() + 0.5 * (across.square().mean() + down.square().mean())


def psnr(picture: Tensor, truth: Tensor) -> Tensor:
    """Decibels `[N]` of pictures `[N, 3, H, W]` in 0..1."""
    return -10 * torch.log10((picture.clamp(0, 1) - truth).square().mean((1, 2, 3)).clamp_min(1e-10))


def train_views(
    folder: Path, steps: int, *, seconds: float | None = None, batch: int = BATCH, examples: Examples | None = None,
    config: ViewNetworkConfig | None = None, rate: float = RATE, device: str = "cpu", weights: Path | None = None,
) -> TrainingRun:  # fmt: skip
    """Train up to step `steps`, or for `seconds`; resumes from `folder`.

    With `weights`, a released file, a run that is new begins with its network and counts on from its steps.
    """
    torch.manual_seed(0)
    network = load_view_network(weights) if weights else (config or ViewNetworkConfig()).setup()
    network = network.train().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    average = Average(network)
    run = TrainingRun(folder, model=network, optimizer=optimizer, average=average)
    first = trained_steps(weights)["views"] if weights else 0
    run.step = max(run.step, first)
    examples = examples or Examples()
    sums, began = np.zeros(2), time.monotonic()
    for step in run.steps(steps, seconds):
        for group in optimizer.param_groups:
            group["lr"] = rate * rate_share(step - first, steps - first)
        pool, rng = examples.at(step), np.random.default_rng([23, step])
        chosen = [pool[i] for i in rng.integers(0, len(pool), batch)]
        seen, light, truth = (torch.stack([getattr(e, n) for e in chosen]) for n in ("seen", "light", "picture"))
        seen, light, truth = seen.float().to(device), light.to(device), truth.to(device).float() / 255
        sharp = _pixels(chosen, device)
        if rng.random() < 0.5:
            # A mirrored world is a world too, if the horizontal directions are mirrored: see `mirrored`.
            seen, light, truth = mirrored(seen, light, truth)
            sharp = mirrored_pixels(*sharp) if sharp else ()
        with mixed_precision(device):
            picture = network(seen, light, *sharp)
        loss = view_loss(picture, truth)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        average.update(network, step)
        sums += (loss.item(), float(psnr(picture.detach(), truth).mean()))
        if (step + 1) % 25 == 0:
            run.log(loss=sums[0] / 25, psnr=sums[1] / 25, seconds=(time.monotonic() - began) / 25)
            sums, began = np.zeros(2), time.monotonic()
    return run


def rate_share(step: int, steps: int) -> float:
    """Return the share of the learning rate at `step` of `steps`: it rises at the beginning, then falls as a cosine."""
    falling = LAST + (1 - LAST) * 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0)))
    return min(1.0, (step + 1) / WARMUP) * falling


def mirrored(seen: Tensor, light: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same views in a land mirrored from east to west: the eastward parts of normals and sun change sign."""
    seen, light = seen.flip(-1).clone(), light.clone()
    seen[:, ALBEDO_NORMAL_EAST] *= -1
    light[:, 0] *= -1
    return seen, light, truth.flip(-1)


ALBEDO_NORMAL_EAST = 9


def _pixels(chosen: list[Example], device: str) -> tuple[Tensor, Tensor, Tensor] | tuple[()]:
    """Pixels of some views, each as in `fine_sight.Sharp` with a first axis of views; nothing in coarse cells."""
    albedo, source, sky = ([getattr(e, name) for e in chosen] for name in ("albedo", "source", "sky"))
    if any(x is None for x in albedo):
        return ()
    pixels = torch.stack(albedo).float(), torch.stack(source).long(), torch.stack(sky).float()
    return tuple(x.to(device) for x in pixels)  # type: ignore[return-value]


def mirrored_pixels(albedo: Tensor, source: Tensor, sky: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the pixels of the same views in a land mirrored from east to west."""
    width = albedo.shape[-1]
    rows = source.view(len(source), *albedo.shape[-2:]).flip(-1)
    return albedo.flip(-1), (rows - rows % width + (width - 1 - rows % width)).flatten(1), sky.flip(-1)


def main() -> None:
    """Command line."""
    parser = run_parser(__doc__, batch=BATCH, rate=RATE)
    parser.add_argument("--pool", type=int, default=POOL, help="views kept to learn from")
    parser.add_argument("--fine", action="store_true", help="things in fine cells")
    parser.add_argument("--refinement", type=Path, default=None, help="released weights that make every second one")
    parser.add_argument("--from", dest="weights", type=Path, help="released weights that a new run begins with")
    parser.add_argument("--no-compile", action="store_true", help="draw without compiling the renderer first")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    refinement = None if args.refinement is None else load_refinement(args.refinement)
    cast = None if args.no_compile else compiled_cast()
    examples = Examples(args.pool, cast, fine=args.fine, refinement=refinement)
    train_views(
        args.run, args.steps, seconds=args.seconds, batch=args.batch, examples=examples, rate=args.rate,
        device=args.device, weights=args.weights,
    )  # fmt: skip


if __name__ == "__main__":
    main()
