"""Evaluation of the endless worlds: every measure with its goal, as JSON. Run by `evaluate --world endless`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from flashdreams.core.precision import fastest_dtype
from flashdreams.files import drafted
from flashdreams.integrations.pocket.assets import MOVER_WEIGHTS, asset_folder
from flashdreams.integrations.pocket.config import endless_world
from flashdreams.integrations.pocket.endless_world import EndlessWorld
from flashdreams.integrations.pocket.evaluation import tiles
from flashdreams.integrations.pocket.evaluation.action_following import action_following
from flashdreams.integrations.pocket.evaluation.endless_walks import kilometre, playing, returns, still_world
from flashdreams.integrations.pocket.evaluation.given_land import region_stage
from flashdreams.integrations.pocket.evaluation.key_following import key_following
from flashdreams.integrations.pocket.evaluation.measures import prediction
from flashdreams.integrations.pocket.evaluation.movers import mover_errors
from flashdreams.integrations.pocket.evaluation.prompts import PROMPTS, QUICK_PROMPTS, Prompt
from flashdreams.integrations.pocket.evaluation.prompts_obeyed import margins_of_land, words_obeyed
from flashdreams.integrations.pocket.evaluation.stage import Samples
from flashdreams.integrations.pocket.evaluation.stored_places import place_samples, places_stage
from flashdreams.integrations.pocket.evaluation.tile_views import TileViews, likeness
from flashdreams.integrations.pocket.land.kinds import HELD_OUT_KIND
from flashdreams.integrations.pocket.movers.transition import load_mover_network
from flashdreams.integrations.pocket.tiles.config import TILE
from flashdreams.integrations.pocket.tiles.weights import trained_steps
from flashdreams.integrations.pocket.training.regions import HELD_OUT_SEEDS
from flashdreams.integrations.pocket.training.train_view_classifier import (
    TESTED_ON,
    load_or_train,
    make_examples,
    tested,
)
from flashdreams.integrations.pocket.training.train_view_classifier import Size as ClassifierSize
from flashdreams.integrations.pocket.training.train_views import TRAINED_KINDS


@dataclass(frozen=True)
class Goal:
    """A limit of one figure."""

    limit: float
    most: bool = False
    """True if the figure must not be above the limit, rather than below it."""

    def met(self, value: float) -> bool:
        """Return True if `value` keeps the limit."""
        return value <= self.limit if self.most else value >= self.limit


GOALS = {
    "after_1_psnr_db": Goal(28.0),
    "after_4_psnr_db": Goal(28.5),
    "after_16_psnr_db": Goal(29.5),
    "places_after_1_psnr_db": Goal(28.3),
    "places_after_4_psnr_db": Goal(28.8),
    "places_after_16_psnr_db": Goal(30.0),
    "view_psnr_held_out_kind": Goal(26.0),
    "edges_percent": Goal(85.0),
    "turn_psnr_db": Goal(34.0),
    "circle_psnr_db": Goal(32.0),
    "kilometre_psnr_db": Goal(30.0),
    "frechet_ratio": Goal(3.0, most=True),
    "precision": Goal(0.8),
    "recall": Goal(0.6),
    "copying_ratio": Goal(0.9),
    "seam_ratio": Goal(1.1, most=True),
    "words_obeyed_percent": Goal(85.0),
    "mover_error": Goal(0.5, most=True),
    "keys_right_percent": Goal(100.0),
    "yaw_correlation": Goal(0.989),
    "forward_correlation": Goal(0.941),
    "right_correlation": Goal(0.918),
    "tile_seconds_playing": Goal(2.0, most=True),
    "tiles_ahead": Goal(2.0),
    "late_chunks_percent": Goal(0.0, most=True),
    "kilometre_memory_slope_mib": Goal(0.5, most=True),
}
"""Of the figures that have one."""


@dataclass(frozen=True)
class Size:
    """Size of an evaluation."""

    classifier: ClassifierSize = field(default_factory=ClassifierSize)
    tested_regions: int = 70
    worlds: int = 20
    views: int = 6
    prompts: Sequence[Prompt] = PROMPTS
    margin_regions: int = 20
    """Regions on which it is set how much more or less of one thing is enough."""
    walks: int = 24
    """Walks on procedural land, one in each."""
    regions: int = 6
    """Those of them in which keys and commands are judged."""
    followed_chunks: int = 48
    single_views: int = 48
    place_walks: int = 4
    """Walks in each stored place."""
    returns: int = 2
    metres: float = 1000.0
    seconds: float = 20.0
    trained_regions: int = 60
    """Regions that tiles were trained on, for `copying_ratio`."""


FULL = Size()
QUICK = Size(
    classifier=ClassifierSize(42, 12), tested_regions=7, worlds=2, views=4, prompts=QUICK_PROMPTS, margin_regions=1,
    walks=1, regions=1, followed_chunks=12, single_views=6, place_walks=1, returns=1, metres=32.0, seconds=5.0,
    trained_regions=12,
)  # fmt: skip
Figures = dict[str, float]


class EndlessEvaluation:
    """All measures of one weights file."""

    def __init__(self, weights: Path, size: Size, folder: Path, seed: int = 0) -> None:
        self.weights, self.size, self.folder, self.seed = weights, size, folder, seed
        self._world: EndlessWorld | None = None
        self._tile_views: TileViews | None = None

    def measures(self) -> Mapping[str, Callable[[], Figures]]:
        """Every measure by its name; each can be taken alone."""
        return {
            "classifier": self.classifier,
            "likeness": self.likeness,
            "words": self.words,
            "given_land": self.given_land,
            "places": self.places,
            "views": self.views,
            "movers": self.movers,
            "returns": self.returns,
            "kilometre": self.kilometre,
            "playing": self.playing,
        }

    def classifier(self) -> Figures:
        """Percent of true views of held-out land that the classifier tells right."""
        examples = make_examples(TESTED_ON[: self.size.tested_regions])
        found = tested(self.tile_views().classifier, examples)
        return {f"classifier_{name}_percent": 100 * share for name, share in found.items()}

    def likeness(self) -> Figures:
        """See `tile_views.likeness`; with seams and copies of the same tiles."""
        with tqdm(total=self.size.worlds, desc="worlds", unit="world") as bar:
            found = likeness(self.tile_views(), self.size.worlds, self.size.views, bar.update)
        cuts = [slice(start, start + TILE) for start in range(0, 3 * TILE, TILE)]
        dreamed, land = (
            torch.stack([state[:, rows, columns] for state in states for rows in cuts for columns in cuts])
            for states in (found.states, found.land)
        )
        count = self.size.trained_regions
        trained, unseen = (
            tiles.some_tiles(seeds, np.random.default_rng([43, self.seed]), 16)
            for seeds in (range(1000, 1000 + count), HELD_OUT_SEEDS[:count])
        )
        return {
            **found.figures,
            "seam_ratio": float(np.mean([tiles.seam_ratio(state) for state in found.states])),
            **tiles.copying_figures(dreamed, land, trained, unseen),
        }

    def words(self) -> Figures:
        """See `prompts_obeyed.words_obeyed`."""
        judged = self.tile_views()
        with tqdm(desc="margins", unit="change") as bar:
            margins = margins_of_land(judged, self.size.prompts, self.size.margin_regions, bar.update)
        with tqdm(total=len(self.size.prompts), desc="prompts", unit="prompt") as bar:
            return words_obeyed(judged, self.size.prompts, margins, bar.update)

    def given_land(self) -> Figures:
        """Views, keys and commands on held-out procedural land whose tiles are given, beside the renderer.

        Decibels vary from walk to walk, so that more are gone than keys are tried: `standard_error` is that of the
        mean.
        """
        seeds = HELD_OUT_SEEDS[400 : 400 + self.size.walks]
        stage, scenes = region_stage(seeds, TRAINED_KINDS, self.weights)
        samples: dict[str, list[float]] = {}
        for number, scene in enumerate(tqdm(scenes, "walks on given land", unit="land")):
            _gather(samples, prediction(stage, scene, 1, (1, 4, 16)), "", ("after", "edges"))
            if number < self.size.regions:
                _gather(samples, key_following(stage, scene, 1), "keys_", ("right_percent", "counted_percent"))
                followed = action_following(stage, scene, 1, self.size.followed_chunks)
                _gather(samples, followed, "", ("forward", "right", "yaw", "pitch"))
        found = {name: float(np.nanmean(values)) for name, values in samples.items() if values}
        errors = {name: values for name, values in samples.items() if name.startswith("after") and len(values) > 1}
        return found | {
            f"{name}_standard_error": float(np.std(values, ddof=1) / len(values) ** 0.5)
            for name, values in errors.items()
        }

    def places(self) -> Figures:
        """Views of the stored places beside the renderer of the six places, and of each alone."""
        stage, samples, figures = places_stage(self.weights), Samples(), Figures()
        for scene in tqdm(stage.truth.scene_layouts, "walks in stored places", unit="place"):
            for name, values in place_samples(stage, scene, self.size.place_walks).items():
                samples.setdefault(name, []).extend(values)
                figures[f"places_{name}_{scene}"] = float(np.mean(values)) if values else float("nan")
        return {f"places_{name}": float(np.mean(values)) for name, values in samples.items() if values} | figures

    def views(self) -> Figures:
        """Single views of given land, the kind that views were never trained on too; see `tiles.view_psnr`."""
        network, fine = self.tile_views().network, self.tile_views().refinement is not None
        known, edges = tiles.view_psnr(network, TRAINED_KINDS, self.size.single_views, fine)
        unseen, unseen_edges = tiles.view_psnr(network, (HELD_OUT_KIND,), max(self.size.single_views // 3, 2), fine)
        return {
            "view_psnr": known,
            "view_edges_kept": edges,
            "view_psnr_held_out_kind": unseen,
            "view_edges_kept_held_out_kind": unseen_edges,
        }

    def movers(self) -> Figures:
        """See `movers.mover_errors`."""
        network = load_mover_network(asset_folder() / MOVER_WEIGHTS)
        return dict(mover_errors(network, HELD_OUT_SEEDS[: 4 * self.size.regions]))

    def returns(self) -> Figures:
        """See `endless_walks.returns`: as it is played, and of the land alone."""
        seeds = range(100 + self.seed, 100 + self.seed + self.size.returns)
        world = self._new_world()
        played = returns(world, seeds, still=False)
        return played | returns(still_world(world), seeds, still=True)  # on the tiles that are there already

    def kilometre(self) -> Figures:
        """See `endless_walks.kilometre`."""
        return kilometre(still_world(self._new_world()), 200 + self.seed, self.size.metres)

    def playing(self) -> Figures:
        """See `endless_walks.playing`; needs an idle machine."""
        return playing(self._new_world(), 300 + self.seed, self.size.seconds)

    def tile_views(self) -> TileViews:
        """Load the networks, and train the classifier where it is not kept yet."""
        if self._tile_views is None:
            size = self.size.classifier
            kept = self.folder / f"view_classifier-{size.regions}-{size.passes}.safetensors"
            classifier, model = load_or_train(kept, size), tiles.load_tile_model(self.weights)
            network, refinement = tiles.load_view_network(self.weights), tiles.load_refinement(self.weights)
            bfloat16 = fastest_dtype(torch.device("cpu")) is torch.bfloat16
            self._tile_views = TileViews(model, network, classifier, bfloat16=bfloat16, refinement=refinement)
        return self._tile_views

    def _new_world(self) -> EndlessWorld:
        config = endless_world()
        config.checkpoint, config.adapts = self.weights, False
        world: EndlessWorld = config.setup()
        return world


def answer(parser: argparse.ArgumentParser, args: argparse.Namespace, checkpoint: Path) -> int:
    """Measure the endless worlds as the command line asks; answers the exit status."""
    torch.set_num_threads(1)  # tiles are dreamed on one thread each, in play too
    size, chosen = QUICK if args.quick else FULL, [name for name in args.only.split(",") if name]
    evaluation = EndlessEvaluation(checkpoint, size, args.output, args.seed)
    known = list(evaluation.measures())
    if wrong := [name for name in chosen if name not in known]:
        parser.error(f"--only must name some of {', '.join(known)}; got {', '.join(wrong)}")
    if not checkpoint.is_file():
        parser.error(f"--checkpoint must be a file: {checkpoint}")
    print(evaluate_endless(evaluation, chosen))
    return 0


def evaluate_endless(evaluation: EndlessEvaluation, chosen: Sequence[str]) -> str:
    """Take the `chosen` measures, all of them if none, write `endless.json` into the folder, and answer it."""
    measures, figures, seconds = evaluation.measures(), Figures(), Figures()
    for name in chosen or list(measures):
        print(name, file=sys.stderr)
        began = time.monotonic()
        figures |= measures[name]()
        seconds[name] = round(time.monotonic() - began, 1)
    text = json.dumps(report(figures, evaluation, seconds), indent=1, allow_nan=False)
    with drafted(evaluation.folder / "endless.json") as draft:
        draft.write_text(text + "\n", encoding="utf-8")
    return text


def report(figures: Figures, evaluation: EndlessEvaluation, seconds: Figures) -> dict[str, Any]:
    """Figures with their goals, and under which settings they were taken; those that are not finite are left out."""
    finite = {name: round(value, 4) for name, value in figures.items() if np.isfinite(value)}
    return {
        "checkpoint": evaluation.weights.name,
        "trained_steps": trained_steps(evaluation.weights),
        "seconds": seconds,
        "figures": finite,
        "goals": {
            name: {
                "value": finite[name],
                "at most" if goal.most else "at least": goal.limit,
                "met": goal.met(finite[name]),
            }
            for name, goal in GOALS.items()
            if name in finite
        },
    }


def _gather(
    samples: dict[str, list[float]], found: Mapping[str, Sequence[float]], prefix: str, wanted: tuple[str, ...]
) -> None:
    """Add the figures of `found` whose names begin with one of `wanted`."""
    for name, values in found.items():
        if name.startswith(wanted) and not name.endswith("truth"):
            samples.setdefault(prefix + name, []).extend(values)
